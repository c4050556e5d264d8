//! From an upgrade request to a WebSocket: as a new session, or as the next transport of one that polls.
//!
//! hyper answers 101 and hands the stream over; a task that lives only that long takes the raw stream out of it and
//! starts the connection's own small task. A WebSocket for an existing session first proves itself (`2probe`,
//! `3probe`, `5`) while the session goes on over polling; if it fails, only it is closed.

use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use http::request::Parts;
use http::{Request as HttpRequest, Response, StatusCode};
use sio_protocol::engineio::Revision;
use sio_protocol::engineio::session::{CandidateId, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connection::dispatch::{Dispatch, Next};
use crate::connection::flush::Batch;
use crate::connection::{Connection, End, driver};
use crate::handshake::{Peer, Request};
use crate::http::response::{Body, empty};
use crate::http::route::Opening;
use crate::namespace::connect;
use crate::reason::DisconnectReason;
use crate::server::Shared;
use crate::transport::open_packet;
use crate::transport::stream::Raw;
use crate::websocket::{self, Message, Opcode, PongReply, Reader, close_frame, frame_header};

/// Answers an upgrade request without session.
pub(crate) fn open(server: &Arc<Shared>, opening: &Opening, parts: Parts) -> Response<Body> {
    // After the 101 a client can only be dropped, which is left for those that come at the same moment.
    if server.sessions.len() >= server.config.max_sessions {
        return empty(StatusCode::SERVICE_UNAVAILABLE);
    }
    let (response, deflate) = match accept(server, &parts) {
        Ok(accepted) => accepted,
        Err(refused) => return *refused,
    };
    let (revision, base64) = (opening.revision, opening.base64);
    let peer = parts.extensions.get::<Peer>().copied();
    let server = Arc::clone(server);
    let task = server.task();
    tokio::spawn(async move {
        let mut parts = parts;
        let Some((raw, input)) = take_stream(&mut parts).await else { return };
        let peer = peer.or_else(|| raw.peer().map(|address| Peer::new(address, false)));
        let request = Request::new(&parts, peer);
        drop(parts);
        // Closing may have begun while hyper wrote its answer.
        if server.is_closed() {
            return;
        }
        let Some(connection) =
            Connection::open(&server, revision, Transport::WebSocket, base64, None, request)
        else {
            return;
        };
        let _batch = Batch::begin();
        let open = format!("0{}", open_packet(&connection, Transport::WebSocket));
        connection.send_frame(&text_frame(&open));
        if revision == Revision::V3 {
            connect::connect_implicitly(&connection);
        }
        if deflate {
            connection.set_deflate();
        }
        driver::spawn(connection, raw, Reader::new(deflate), input);
        drop(task);
    });
    response.map(|()| Body::default())
}

/// Answers an upgrade request of a session.
pub(crate) fn upgrade(connection: Arc<Connection>, parts: Parts, base64: bool) -> Response<Body> {
    let (response, deflate) = match accept(connection.server(), &parts) {
        Ok(accepted) => accepted,
        Err(refused) => return *refused,
    };
    let task = connection.server().task();
    tokio::spawn(async move {
        let mut parts = parts;
        let Some((raw, input)) = take_stream(&mut parts).await else { return };
        drop(parts);
        probe(connection, raw, Reader::new(deflate), input, base64).await;

        drop(task);
    });
    response.map(|()| Body::default())
}

/// Checks the request; gives the answer and whether compression was agreed on.
fn accept(server: &Shared, parts: &Parts) -> Result<(Response<()>, bool), Box<Response<Body>>> {
    let accepted =
        websocket::accept(parts).map_err(|refused| Box::new(refused.response().map(Body::from)))?;
    let extension = match server.config.per_message_deflate {
        Some(_) => websocket::negotiate(&parts.headers),
        None => None,
    };
    let deflate = extension.is_some();
    Ok((accepted.response(extension), deflate))
}

async fn take_stream(parts: &mut Parts) -> Option<(Raw, Vec<u8>)> {
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let mut request = HttpRequest::new(());
    if let Some(upgrade) = upgrade {
        request.extensions_mut().insert(upgrade);
    }
    match hyper::upgrade::on(request).await {
        Ok(upgraded) => {
            let (raw, input) = Raw::from_upgraded(upgraded);
            Some((raw, input.to_vec()))
        }
        Err(error) => {
            tracing::debug!(%error, "websocket upgrade failed");
            None
        }
    }
}

/// Lets a WebSocket prove itself, and makes it the session's transport when it does.
async fn probe(connection: Arc<Connection>, mut raw: Raw, mut reader: Reader, input: Vec<u8>, base64: bool) {
    let timing = connection.timing();
    let upgrade_timeout = Duration::from_millis(timing.upgrade_timeout);
    let candidate = match connection.with_session(|session, now| session.handle_candidate(timing, now)) {
        Ok(candidate) => candidate,
        Err(refused) => {
            tracing::debug!(session = ?connection.id(), %refused, "second websocket refused");
            close(&mut raw, None).await;
            return;
        }
    };
    let mut is_upgraded = false;
    let proof = tokio::select! {
        biased;
        proof = prove(&connection, candidate, &mut raw, &mut reader, input, base64, &mut is_upgraded) => proof,
        () = poll_fn(|cx| connection.poll_ended(candidate, cx)) => Ok(Proof::Failed(None)),
        () = tokio::time::sleep(upgrade_timeout) => Ok(Proof::Failed(None)),
    };
    // Another may have taken its place already.
    connection.with_polling(|polling| polling.candidate.take_if(|(id, _)| *id == candidate));
    match proof {
        proof if is_upgraded => {
            // The stream failed, or the time was up, before the probe was answered. The session is this WebSocket's by
            // now, so it ends with it, wound up by the driver.
            if !matches!(proof, Ok(Proof::Upgraded)) {
                connection.end(DisconnectReason::TransportClose, End::Gone);
            }
            connection.release_polling();
            if reader.deflates() {
                connection.set_deflate();
            }
            driver::spawn(connection, raw, reader, Vec::new());
        }
        failed => {
            let code = if let Ok(Proof::Failed(code)) = failed { code } else { None };
            tracing::debug!(session = ?connection.id(), "probe failed, polling goes on");
            connection.with_session(|session, _| session.handle_candidate_lost(candidate));
            close(&mut raw, code).await;
        }
    }
}

enum Proof {
    Upgraded,
    Failed(Option<u16>),
}

/// `is_upgraded` is set as soon as the session is the WebSocket's, whatever becomes of the answer.
async fn prove(
    connection: &Arc<Connection>,
    candidate: CandidateId,
    raw: &mut Raw,
    reader: &mut Reader,
    mut input: Vec<u8>,
    base64: bool,
    is_upgraded: &mut bool,
) -> io::Result<Proof> {
    let limits = driver::read_limits(connection);
    let mut buf = vec![0; PROBE_BUFFER];
    loop {
        if input.is_empty() {
            match raw.read(&mut buf).await? {
                0 => return Ok(Proof::Failed(None)),
                n => input.extend_from_slice(&buf[..n]),
            }
        }
        let mut dispatch = poll_fn(|cx| {
            // What a POST brings came before what the WebSocket brings.
            ready!(connection.poll_posted(candidate, cx));
            Dispatch::poll_begin(connection, cx)
        })
        .await
        .of_candidate(candidate);
        let mut answer = false;
        let mut pong = PongReply::default();
        let mut proof = None;
        let mut code = None;
        let fed = reader.feed(&limits, &mut input, &mut |message| {
            let next = match message {
                Message::Text(text) => dispatch.websocket_text(text),
                Message::Binary(bytes) => dispatch.websocket_binary(bytes),
                Message::Ping(data) => {
                    pong.note(data);
                    Next::Continue
                }
                Message::Pong(_) => Next::Continue,
                // After the upgrade it is the session that the client closes. Its driver would not see this frame again.
                Message::Close(with, _) if proof.is_some() => {
                    connection.end(DisconnectReason::TransportClose, End::Abrupt(with));
                    Next::Stop
                }
                Message::Close(with, _) => {
                    code = with;
                    Next::CloseCandidate
                }
            };
            match next {
                Next::Continue => {}
                Next::AnswerProbe => answer = true,
                Next::Upgraded => {
                    // From here on everybody writes to the WebSocket; a held poll is sent home.
                    let revision = connection.revision();
                    if let Some(held) = connection.with_outbox(|outbox| outbox.upgrade(base64, revision)) {
                        held.wake();
                    }
                    proof = Some(Proof::Upgraded);
                    *is_upgraded = true;
                }
                Next::Stop | Next::CloseCandidate => {
                    // A session that ends in the very batch that upgraded it is wound up by its driver.
                    proof.get_or_insert(Proof::Failed(code));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        drop(dispatch);
        if let Err(violation) = fed {
            if matches!(proof, Some(Proof::Upgraded)) {
                driver::violated(connection, &violation);
            } else {
                proof = Some(Proof::Failed(Some(violation.close_code())));
            }
        }
        if answer {
            raw.write_all(&text_frame("3probe")).await?;
        }
        match (pong.frame(), &proof) {
            (Some(frame), None) => raw.write_all(frame).await?,
            (Some(frame), Some(Proof::Upgraded)) => connection.send_frame(frame),
            _ => {}
        }
        if let Some(proof) = proof {
            return Ok(proof);
        }
        input.clear();
    }
}

/// Says goodbye to a WebSocket that never became a transport.
async fn close(raw: &mut Raw, code: Option<u16>) {
    let (frame, len) = close_frame(code);
    let goodbye = async {
        raw.write_all(&frame[..len]).await?;
        raw.shutdown().await?;
        // Unread input would make the kernel reset the connection, and the close frame with it.
        let mut rest = [0; 512];
        while raw.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // A client that does not listen is dropped all the same.
    let _ = tokio::time::timeout(CLOSE_WAIT, goodbye).await;
}

fn text_frame(text: &str) -> Vec<u8> {
    let (header, len) = frame_header(Opcode::Text, text.len(), false);
    let mut frame = Vec::with_capacity(len + text.len());
    frame.extend_from_slice(&header[..len]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// A probe is a few bytes; what follows it in the same read is rarely more.
const PROBE_BUFFER: usize = 4096;
/// How long a refused WebSocket may take to close its side.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    /// From the client, with a mask that changes nothing.
    fn masked(text: &str) -> Vec<u8> {
        let len = u8::try_from(text.len()).unwrap();
        [&[0x81, 0x80 | len, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_its_new_websocket_fails_before_its_probe_is_answered() {
        for is_gone in [true, false] {
            let connection = Connection::alone(&Server::new().shared, Transport::Polling);
            let (ours, client) = tokio::io::duplex(1);
            // A client that is there, but does not read, runs out of time.
            let _client = (!is_gone).then_some(client);
            let input = [masked("2probe"), masked("5")].concat();
            probe(Arc::clone(&connection), Raw::Other(Box::new(ours)), Reader::new(false), input, false)
                .await;
            assert_eq!(connection.end_reason(), Some(DisconnectReason::TransportClose));
            assert!(!connection.keeps_polling());
        }
    }
}
