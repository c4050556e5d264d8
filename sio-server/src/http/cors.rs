//! Which pages of other origins may talk to the server.
//!
//! Pure, over the header types of the `http` crate. Without this option the server sends no such headers and
//! browsers keep pages of other origins away from polling; a WebSocket is not subject to CORS at all, so
//! whoever must be kept out has to be refused by the application. Spec: the Fetch standard, "CORS protocol".

use std::{fmt, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_LENGTH, ORIGIN, VARY,
    },
};

use crate::sync::contained;

/// Cross-origin access (Node's `cors`). Off by default.
///
/// ```text
/// Cors::origin("https://app.example.com").credentials(true)
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    origin: Origin,
    credentials: bool,
    methods: HeaderValue,
    /// `None`: whatever the request asks for.
    allowed_headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

impl Cors {
    /// Admits pages of any origin (`*`), without credentials: browsers reject the combination.
    pub fn any() -> Self {
        Self::new(Origin::Any)
    }

    /// Admits pages of any origin by naming it back to them (Node's `origin: true`).
    ///
    /// Together with [`Self::credentials`] this lets every page on the web act with its visitor's cookies.
    pub fn reflect() -> Self {
        Self::new(Origin::Reflect)
    }

    /// Admits pages of one origin, such as `https://app.example.com`: scheme, host, port if it is not the
    /// usual one, and no slash at the end. `*` is the same as [`Self::any`].
    ///
    /// # Panics
    ///
    /// If a header cannot have this value.
    pub fn origin(origin: &str) -> Self {
        match origin {
            "*" => Self::any(),
            _ => match HeaderValue::from_str(origin) {
                Ok(value) => Self::new(Origin::Fixed(value)),
                Err(_) => panic!("origin {origin:?} has characters that a header may not have"),
            },
        }
    }

    /// Admits pages of several origins, each written as for [`Self::origin`].
    pub fn origins<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Self {
        Self::new(Origin::List(origins.into_iter().map(Into::into).collect()))
    }

    /// Admits pages of the origins that `predicate` approves of.
    ///
    /// Called for every request that has an origin, on the thread that serves it: it must not block. One that panics does
    /// not approve.
    pub fn matching(predicate: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origin::Predicate(Predicate(Arc::new(predicate))))
    }

    /// Lets pages send cookies and other credentials. Default: no.
    #[must_use]
    pub fn credentials(mut self, allowed: bool) -> Self {
        self.credentials = allowed;
        self
    }

    /// Sets the methods named to a preflight. Default: GET, HEAD, PUT, PATCH, POST, DELETE, as in Node.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = list(methods);
        self
    }

    /// Sets the request headers that pages may add. Default: all they ask for.
    #[must_use]
    pub fn allowed_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.allowed_headers = Some(list(names));
        self
    }

    /// Sets the response headers that scripts may read. Default: none beyond those every script may.
    #[must_use]
    pub fn exposed_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.exposed_headers = Some(list(names));
        self
    }

    /// Sets for how long a browser may remember the answer to a preflight, in whole seconds. Default: left to
    /// the browser, which is 5 seconds.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(HeaderValue::from(age.as_secs()));
        self
    }

    fn new(origin: Origin) -> Self {
        Self {
            origin,
            credentials: false,
            methods: HeaderValue::from_static(DEFAULT_METHODS),
            allowed_headers: None,
            exposed_headers: None,
            max_age: None,
        }
    }

    /// Adds the headers of any response but that to a preflight.
    pub(crate) fn apply(&self, request: &HeaderMap, response: &mut HeaderMap) {
        self.apply_origin(request, response);
        insert_some(response, ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed_headers.as_ref());
    }

    /// Makes the answer to an OPTIONS request.
    pub(crate) fn preflight(&self, request: &HeaderMap) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.apply_origin(request, headers);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let allowed_headers = self.allowed_headers.as_ref().or_else(|| {
            headers.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
            request.get(ACCESS_CONTROL_REQUEST_HEADERS)
        });
        insert_some(headers, ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers);
        insert_some(headers, ACCESS_CONTROL_MAX_AGE, self.max_age.as_ref());
        insert_some(headers, ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed_headers.as_ref());
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        response
    }

    fn apply_origin(&self, request: &HeaderMap, response: &mut HeaderMap) {
        let any = HeaderValue::from_static("*");
        let allowed = match &self.origin {
            Origin::Any => Some(&any),
            Origin::Fixed(origin) => Some(origin),
            varying => request.get(ORIGIN).filter(|origin| varying.admits(origin)),
        };
        insert_some(response, ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if !matches!(self.origin, Origin::Any) {
            // A cache must not hand the answer for one origin to another, nor the lack of one.
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
        if self.credentials {
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

#[derive(Clone, Debug)]
enum Origin {
    Any,
    Fixed(HeaderValue),
    List(Vec<String>),
    Predicate(Predicate),
    Reflect,
}

impl Origin {
    fn admits(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any | Self::Reflect => true,
            Self::Fixed(allowed) => allowed == origin,
            Self::List(allowed) => allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()),
            Self::Predicate(predicate) => origin.to_str().is_ok_and(|origin| {
                contained("the predicate of cors", || predicate.0(origin)).unwrap_or_default()
            }),
        }
    }
}

#[derive(Clone)]
struct Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate(..)")
    }
}

/// Sets a header that has something to say; an empty list says nothing.
fn insert_some(headers: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        headers.insert(name, value.clone());
    }
}

fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> HeaderValue {
    let mut joined = String::new();
    for item in items {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(item.as_ref());
    }
    HeaderValue::try_from(joined).expect("methods and header names have only characters a header may have")
}

/// Node's default. Engine.IO itself needs GET and POST.
const DEFAULT_METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    /// The headers as `name: value` lines.
    fn lines(headers: &HeaderMap) -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    fn applied(cors: &Cors, origin: Option<&'static str>) -> Vec<String> {
        let mut response = HeaderMap::new();
        cors.apply(&request(origin), &mut response);
        lines(&response)
    }

    const HERE: &str = "https://here.example";
    const ALLOWED: [&str; 2] = ["access-control-allow-origin: https://here.example", "vary: Origin"];

    #[test]
    fn any_origin_is_a_star_without_vary() {
        for cors in [Cors::any(), Cors::origin("*")] {
            assert_eq!(applied(&cors, Some(HERE)), ["access-control-allow-origin: *"]);
            assert_eq!(applied(&cors, None), ["access-control-allow-origin: *"]);
        }
    }

    #[test]
    fn a_fixed_origin_is_named_whoever_asks() {
        let cors = Cors::origin(HERE);
        assert_eq!(applied(&cors, Some("https://elsewhere.example")), ALLOWED);
        assert_eq!(applied(&cors, None), ALLOWED);
    }

    #[test]
    fn origins_are_reflected_when_admitted_and_vary_always() {
        for cors in [
            Cors::origins([HERE, "https://there.example"]),
            Cors::matching(|origin| origin.ends_with("//here.example")),
        ] {
            assert_eq!(applied(&cors, Some(HERE)), ALLOWED);
            assert_eq!(applied(&cors, Some("https://elsewhere.example")), ["vary: Origin"]);
            assert_eq!(applied(&cors, None), ["vary: Origin"]);
        }
        assert_eq!(applied(&Cors::reflect(), Some(HERE)), ALLOWED);
        assert_eq!(applied(&Cors::reflect(), None), ["vary: Origin"]);
    }

    #[test]
    fn credentials_and_exposed_headers_go_with_every_response() {
        let cors = Cors::origin(HERE)
            .credentials(true)
            .exposed_headers([HeaderName::from_static("x-one"), HeaderName::from_static("x-two")])
            .max_age(Duration::from_secs(60));
        let expected = [
            ALLOWED[0],
            ALLOWED[1],
            "access-control-allow-credentials: true",
            "access-control-expose-headers: x-one,x-two",
        ];
        assert_eq!(applied(&cors, None), expected);
    }

    #[test]
    fn a_preflight_gets_what_it_asks_for_by_default() {
        let mut asking = request(Some(HERE));
        asking.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-token"));
        let response = Cors::reflect().preflight(&asking);
        assert_eq!(response.status(), 204);
        let expected = [
            "access-control-allow-origin: https://here.example",
            "vary: Origin",
            "vary: Access-Control-Request-Headers",
            "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
            "access-control-allow-headers: x-token",
            "content-length: 0",
        ];
        assert_eq!(lines(response.headers()), expected);
    }

    #[test]
    fn a_preflight_gets_what_is_configured() {
        let cors = Cors::any()
            .methods([Method::GET, Method::POST])
            .allowed_headers([HeaderName::from_static("x-token")])
            .max_age(Duration::from_secs(600));
        let expected = [
            "access-control-allow-origin: *",
            "access-control-allow-methods: GET,POST",
            "access-control-allow-headers: x-token",
            "access-control-max-age: 600",
            "content-length: 0",
        ];
        assert_eq!(lines(cors.preflight(&request(Some(HERE))).headers()), expected);
        let none = Cors::any().allowed_headers([]).preflight(&request(None));
        assert!(!none.headers().contains_key(ACCESS_CONTROL_ALLOW_HEADERS));
        assert!(!none.headers().contains_key(VARY));
    }

    #[test]
    #[should_panic(expected = "characters that a header may not have")]
    fn an_impossible_origin_is_noticed_at_once() {
        Cors::origin("https://here.example\n");
    }

    #[test]
    fn a_predicate_that_panics_does_not_approve() {
        let cors = Cors::matching(|origin| if origin == "https://a" { true } else { panic!("{origin}") });
        for (origin, allowed) in [("https://a", true), ("https://b", false)] {
            let mut request = HeaderMap::new();
            request.insert(ORIGIN, origin.parse().unwrap());
            let mut response = HeaderMap::new();
            cors.apply(&request, &mut response);
            assert_eq!(response.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), allowed);
        }
    }
}
