//! Runs `rust_socketio` for the suite: JSON lines on standard input and output, see CONTRACT.md.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt;
use rust_socketio::asynchronous::{Client, ClientBuilder};
use rust_socketio::{Event, Payload, TransportType};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

fn write(message: &Value) {
    // `println!` locks standard output for the whole line.
    println!("{message}");
}

fn report(conn: &str, nsp: &str, kind: &str, args: Vec<Value>) {
    write(&json!({"conn": conn, "nsp": nsp, "type": kind, "args": args}));
}

/// The arguments of an event or an acknowledgement.
fn pack(payload: Payload) -> Vec<Value> {
    match payload {
        Payload::Binary(bytes) => vec![json!({"$bin": BASE64_STANDARD.encode(bytes)})],
        Payload::Text(values) => values,
        #[allow(deprecated)]
        Payload::String(text) => vec![Value::String(text)],
    }
}

/// The library sends either one binary argument or any number of others.
fn unpack(args: &[Value]) -> Result<Payload, String> {
    if let [Value::Object(only)] = args
        && let Some(Value::String(text)) = only.get("$bin")
    {
        let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
        return Ok(Payload::from(bytes));
    }
    Ok(Payload::Text(args.to_vec()))
}

fn text<'a>(command: &'a Value, key: &str) -> Result<&'a str, String> {
    command[key].as_str().ok_or_else(|| format!("{key} is missing"))
}

fn percent_encode(value: &str) -> String {
    value
        .bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

async fn open(command: &Value) -> Result<Client, String> {
    let conn = text(command, "conn")?.to_owned();
    let nsp = command["nsps"][0].as_str().ok_or("one namespace for each connection")?.to_owned();
    let mut url = text(command, "url")?.to_owned();
    if let Some(query) = command["query"].as_object() {
        url.push_str("/?");
        for (key, value) in query {
            url.push_str(&format!("{key}={}&", percent_encode(value.as_str().unwrap_or_default())));
        }
        url.pop();
    }
    let transport = match text(command, "transport")? {
        "polling" => TransportType::Polling,
        "websocket" => TransportType::Websocket,
        _ => TransportType::WebsocketUpgrade,
    };
    let mut builder = ClientBuilder::new(url)
        .namespace(nsp.as_str())
        .transport_type(transport)
        .reconnect(command["reconnect"].as_bool().unwrap_or(false))
        .reconnect_delay(50, 200);
    if !command["auth"].is_null() {
        builder = builder.auth(command["auth"].clone());
    }
    if let Some(headers) = command["headers"].as_object() {
        for (key, value) in headers {
            builder = builder.opening_header(key.as_str(), value.as_str().unwrap_or_default());
        }
    }
    let names = (conn.clone(), nsp.clone());
    builder = builder.on_any(move |event, payload, _| {
        let mut args = vec![Value::String(event.to_string())];
        args.extend(pack(payload));
        report(&names.0, &names.1, "event", args);
        async {}.boxed()
    });
    let names = (conn.clone(), nsp.clone());
    builder = builder.on(Event::Connect, move |_, _| {
        report(&names.0, &names.1, "connect", vec![Value::Null]);
        async {}.boxed()
    });
    let names = (conn.clone(), nsp.clone());
    builder = builder.on(Event::Close, move |_, _| {
        report(&names.0, &names.1, "disconnect", vec![json!("close")]);
        async {}.boxed()
    });
    let names = (conn, nsp);
    builder = builder.on(Event::Error, move |payload, _| {
        let shown = match pack(payload).pop() {
            Some(Value::String(shown)) => shown,
            other => other.unwrap_or_default().to_string(),
        };
        match shown.strip_prefix("Received an ConnectError frame: ") {
            Some(error) => {
                let error = serde_json::from_str(error).unwrap_or(Value::String(error.to_owned()));
                report(&names.0, &names.1, "connect_error", vec![error]);
            }
            None => report(&names.0, &names.1, "transport_error", vec![Value::String(shown)]),
        }
        async {}.boxed()
    });
    builder.connect().await.map_err(|error| error.to_string())
}

async fn emit(client: &Client, command: &Value) -> Result<(), String> {
    let event = text(command, "event")?;
    let payload = unpack(command["args"].as_array().ok_or("args is missing")?)?;
    let sent = if command["ack"].as_bool() == Some(true) {
        let id = command["id"].clone();
        let reply = move |payload: Payload, _: Client| {
            // All arguments of the acknowledgement come as one array.
            let args = pack(payload).pop().unwrap_or_default();
            write(&json!({"id": id, "ok": args}));
            async {}.boxed()
        };
        client.emit_with_ack(event, payload, Duration::from_secs(30), reply).await
    } else {
        client.emit(event, payload).await
    };
    sent.map_err(|error| error.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut clients: HashMap<String, Client> = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(command) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let conn = command["conn"].as_str().unwrap_or_default().to_owned();
        let operation = command["op"].as_str().unwrap_or_default();
        let result = match (operation, clients.get(&conn)) {
            ("open", _) => match open(&command).await {
                Ok(client) => {
                    clients.insert(conn, client);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            ("close", None) => Ok(()),
            (_, None) => Err(String::from("unknown connection")),
            ("emit", Some(client)) => emit(client, &command).await,
            ("disconnect", Some(client)) => client.disconnect().await.map_err(|error| error.to_string()),
            ("close", Some(client)) => {
                // It may be closed already.
                let _ = client.disconnect().await;
                clients.remove(&conn);
                Ok(())
            }
            _ => Err(format!("unknown operation {operation}")),
        };
        match result {
            Ok(()) if operation == "emit" && command["ack"].as_bool() == Some(true) => {}
            Ok(()) => write(&json!({"id": command["id"], "ok": null})),
            Err(error) => write(&json!({"id": command["id"], "error": error})),
        }
    }
}
