//! Responses: bodies, compression, and the headers that every response of an engine carries.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT,
};
use http::{Response, StatusCode};
use http_body_util::Full;

/// The body of every response of ours.
pub(crate) type Body = Full<Bytes>;

/// What has to be remembered of a request until its response is written; the request itself is dropped, as its
/// headers would pin hyper's read buffer for as long as a poll is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    encoding: Option<Encoding>,
    /// Old Internet Explorers take a payload for an attack.
    old_explorer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
}

impl Client {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
        Self {
            encoding: accepted_encoding(headers),
            old_explorer: agent.contains(";MSIE") || agent.contains("Trident/"),
        }
    }

    /// A polling payload. Compressed from `threshold` bytes on, if the client takes that.
    pub(crate) fn payload(
        self,
        body: Vec<u8>,
        content_type: &'static str,
        threshold: Option<usize>,
    ) -> Response<Body> {
        let mut response = Response::new(Body::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.old_explorer {
            headers.insert("x-xss-protection", HeaderValue::from_static("0"));
        }
        let compressed = match (self.encoding, threshold) {
            (Some(encoding), Some(threshold)) if body.len() >= threshold => {
                compress(encoding, &body).map(|body| (encoding, body))
            }
            _ => None,
        };
        let body = match compressed {
            Some((encoding, body)) => {
                let name = if encoding == Encoding::Gzip { "gzip" } else { "deflate" };
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
                body
            }
            None => body,
        };
        *response.body_mut() = Body::from(body);
        response
    }

    /// The answer to a POST, whatever was in it: errors show on the next request.
    pub(crate) fn ok(self) -> Response<Body> {
        let mut response = self.payload(b"ok".to_vec(), "text/html", None);
        if !self.old_explorer {
            return response;
        }
        response.headers_mut().insert("x-xss-protection", HeaderValue::from_static("0"));
        response
    }
}

/// A response without body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

/// gzip is preferred to deflate, as in Node; an encoding with weight 0 is not wanted.
fn accepted_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut found = None;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for part in value.to_str().unwrap_or("").split(',') {
            let (name, weight) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight.trim().strip_prefix("q=").unwrap_or("1").trim();
            if weight.parse::<f32>().is_ok_and(|q| q <= 0.0) {
                continue;
            }
            match name.trim() {
                "gzip" | "*" => return Some(Encoding::Gzip),
                "deflate" => found = Some(Encoding::Deflate),
                _ => {}
            }
        }
    }
    found
}

fn compress(encoding: Encoding, body: &[u8]) -> Option<Vec<u8>> {
    let level = Compression::fast();
    let result = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        // What HTTP calls deflate is the zlib format (RFC 9110, 8.4.1.2).
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
    };
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(accept: &'static str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
        accepted_encoding(&headers)
    }

    #[test]
    fn gzip_is_preferred_and_weight_zero_is_refused() {
        assert_eq!(encoding("deflate, gzip;q=0.5, br"), Some(Encoding::Gzip));
        assert_eq!(encoding("deflate"), Some(Encoding::Deflate));
        assert_eq!(encoding("gzip;q=0, br"), None);
        assert_eq!(encoding("identity"), None);
    }

    #[test]
    fn small_payloads_are_not_compressed() {
        let client = Client { encoding: Some(Encoding::Gzip), old_explorer: false };
        let small = client.payload(vec![b'a'; 1023], "text/plain", Some(1024));
        assert!(!small.headers().contains_key(CONTENT_ENCODING));
        let large = client.payload(vec![b'a'; 1024], "text/plain", Some(1024));
        assert_eq!(large.headers()[CONTENT_ENCODING], "gzip");
    }
}
