//! The MessagePack values that `notepack.io` 2 and 3 and `@msgpack/msgpack` 2 were seen to write and read.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod socketio_support;

use sio_protocol::Malformed;
use sio_protocol::msgpack::{Dialect, Reader, Token, Writer};
use sio_protocol::socketio::Value;
use socketio_support::{Exceptions, Vector, float_tag, hex, tag, unhex, vectors};

/// Vectors that are not about bytes.
const SKIPPED: &[(&str, &str)] = &[
    ("*/bigint", "the encoder refuses the value, so there are no bytes"),
    ("@msgpack/msgpack@2.8.0/fn_prop", "the encoder refuses the value, so there are no bytes"),
    ("@msgpack/msgpack@2.8.0/toJSON", "the encoder refuses the value, so there are no bytes"),
    ("cross/2->@msgpack/*", "how @msgpack/msgpack misreads notepack.io 2; the reader here understands it"),
    (
        "cross/3->2/date*",
        "how notepack.io 2 misreads the dates of notepack.io 3; the reader here understands them",
    ),
    (
        "decode/@msgpack/msgpack@2.8.0/ext5",
        "an extension that is of no use to Socket.IO is shown as notepack.io does",
    ),
];

/// Vectors whose bytes are not written again from what they decode to.
const DECODED_ONLY: &[(&str, &str)] = &[
    ("*@3.0.1/2^64", "BUG in the encoder: modulo 2^64"),
    ("*@2.2.0/2^64", "BUG in the encoder: modulo 2^64"),
    ("notepack.io@3.0.1/1e300", "BUG in the encoder: modulo 2^64"),
    ("notepack.io@2.2.0/1e300", "BUG in the encoder: modulo 2^64"),
    ("notepack.io@3.0.1/-2^64", "BUG in the encoder: modulo 2^64"),
    ("notepack.io@2.2.0/-2^64", "BUG in the encoder: modulo 2^64"),
    ("cross/*", "one dialect read as another; there is no one to write it again"),
    ("decode/*", "bytes that no encoder writes"),
];

#[test]
fn every_msgpack_vector_holds() {
    let (mut skipped, mut decoded_only) = (Exceptions::new(SKIPPED), Exceptions::new(DECODED_ONLY));
    let (mut big, mut encoded, mut decoded, mut refused, mut left_out) = (0, 0, 0, 0, 0);
    for vector in vectors("msgpack-dialects") {
        let name = vector.name();
        if skipped.covers(name) {
            left_out += 1;
            continue;
        }
        if name.contains("/big/") {
            big += 1;
            large_values_have_the_same_digest(&vector);
            continue;
        }
        let bytes = unhex(vector.text("hex")).into();
        let expected = vector.get("decoded").unwrap();
        let mut reader = Reader::new(&bytes);
        if tag(expected, "$error").is_some() {
            reader.skip().unwrap();
            assert!(matches!(reader.finish(), Err(Malformed::MsgPackTrailingBytes { count: 1 })), "{name}");
            refused += 1;
            continue;
        }
        let value = read(&mut reader);
        reader.finish().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(same(&value, expected), "{name}: {value:?} is not {expected:?}");
        decoded += 1;
        if !decoded_only.covers(name) {
            encoded += 1;
            let mut written = Vec::new();
            write(&mut Writer::new(&mut written, dialect(name)), expected, name);
            assert_eq!(hex(&written), vector.text("hex"), "{name}");
        }
    }
    skipped.check_all_used();
    decoded_only.check_all_used();
    assert_eq!((big, encoded, decoded, refused, left_out), (12, 125, 145, 3, 12));
    assert_eq!(big + decoded + refused + left_out, 172, "every vector is one of these");
}

fn dialect(name: &str) -> Dialect {
    match name.split_once('@') {
        Some((_, rest)) if rest.starts_with("2.2.0") => Dialect::Notepack2,
        Some((_, rest)) if rest.starts_with("3.0.1") => Dialect::Notepack3,
        Some((_, rest)) if rest.starts_with("msgpack") => Dialect::MsgPack2,
        _ => panic!("no dialect in {name}"),
    }
}

/// Reads a value with the tags of the vectors.
fn read(reader: &mut Reader<'_>) -> Value {
    let tagged = |name: &str, value: Value| Value::Object(vec![(name.to_owned(), value)]);
    match reader.next_token().unwrap() {
        Token::Nil => Value::Null,
        Token::Undefined => tagged("$undefined", true.into()),
        Token::Bool(value) => value.into(),
        Token::Number(number) if number.as_f64().is_nan() => tagged("$float", "NaN".into()),
        Token::Number(number) if number.as_f64() == f64::INFINITY => tagged("$float", "Infinity".into()),
        Token::Number(number) if number.as_f64() == f64::NEG_INFINITY => tagged("$float", "-Infinity".into()),
        Token::Number(number) => number.into(),
        Token::String(text) => text.as_ref().into(),
        Token::Binary(bytes) => tagged("$bin", hex(bytes).into()),
        Token::Date(date) => tagged("$date", date.map_or(Value::Null, Value::from)),
        Token::Extension(kind, bytes) => {
            Value::Array(vec![i32::from(kind).into(), tagged("$bin", hex(bytes).into())])
        }
        Token::Array(count) => Value::Array((0..count).map(|_| read(reader)).collect()),
        Token::Map(count) => Value::Object(
            (0..count)
                .map(|_| {
                    let key = match read(reader) {
                        Value::String(key) => key,
                        Value::Number(key) => key.to_string(),
                        other => panic!("{other:?} as key"),
                    };
                    (key, read(reader))
                })
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

/// Compares as JavaScript would have to: numbers are doubles, and both binary types hold the same bytes.
fn same(seen: &Value, expected: &Value) -> bool {
    match (seen, expected) {
        (Value::Number(seen), Value::Number(expected)) => seen.as_f64() == expected.as_f64(),
        (Value::Array(seen), Value::Array(expected)) => {
            seen.len() == expected.len()
                && seen.iter().zip(expected).all(|(seen, expected)| same(seen, expected))
        }
        (Value::Object(_), _) if tag(expected, "$arraybuffer").is_some() => {
            tag(seen, "$bin") == tag(expected, "$arraybuffer")
        }
        (Value::Object(seen), Value::Object(expected)) => {
            seen.len() == expected.len()
                && seen
                    .iter()
                    .zip(expected)
                    .all(|(seen, expected)| seen.0 == expected.0 && same(&seen.1, &expected.1))
        }
        _ => seen == expected,
    }
}

fn write(writer: &mut Writer<'_>, value: &Value, name: &str) {
    if tag(value, "$undefined").is_some() {
        return writer.undefined();
    }
    if let Some(hex) = tag(value, "$bin") {
        return writer.binary(&unhex(hex.as_str().unwrap()));
    }
    if let Some(hex) = tag(value, "$arraybuffer") {
        return writer.array_buffer(&unhex(hex.as_str().unwrap()));
    }
    if let Some(date) = tag(value, "$date") {
        // The bytes of an invalid date read as 1970.
        return writer.date(date.as_i64().filter(|_| !name.ends_with("/date_invalid")));
    }
    if let Some(float) = float_tag(value) {
        return writer.number(float);
    }
    match value {
        Value::Null => writer.nil(),
        Value::Bool(value) => writer.boolean(*value),
        // As JavaScript, which has doubles only.
        Value::Number(number) => writer.number(number.as_f64()),
        Value::String(text) => writer.string(text),
        Value::Array(items) => {
            writer.array(items.len());
            items.iter().for_each(|item| write(writer, item, name));
        }
        Value::Object(entries) => {
            writer.map(entries.len());
            for (key, value) in entries {
                writer.string(key);
                write(writer, value, name);
            }
        }
        other => panic!("{other:?}"),
    }
}

fn large_values_have_the_same_digest(vector: &Vector) {
    let (package, kind) = vector.name().split_once("/big/").unwrap();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, dialect(package));
    let (kind, count) = kind.split_once('-').unwrap();
    let count: usize = count.parse().unwrap();
    match kind {
        "str" => writer.string(&"a".repeat(count)),
        "bin" => writer.binary(&vec![7; count]),
        "array" => {
            writer.array(count);
            (0..count).for_each(|_| writer.number(0));
        }
        "map" => {
            writer.map(count);
            for key in 0..count {
                writer.string(&key.to_string());
                writer.number(0);
            }
        }
        _ => panic!("{kind}"),
    }
    assert_eq!(Some(bytes.len() as u64), vector.get("length").and_then(Value::as_u64), "{}", vector.name());
    assert!(hex(&bytes).starts_with(vector.text("hex_prefix")), "{}", vector.name());
    assert_eq!(hex(&sha256(&bytes)), vector.text("sha256"), "{}", vector.name());
    let bytes = bytes.into();
    let mut reader = Reader::new(&bytes);
    reader.skip().unwrap();
    reader.finish().unwrap();
}

/// FIPS 180-4. The vectors give nothing else of large values, and a dependency for one test is too much.
fn sha256(message: &[u8]) -> [u8; 32] {
    let primes = || (2_u64..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0));
    let fraction = |root: f64| (root.fract() * 4_294_967_296.0) as u32;
    let constants: Vec<u32> = primes().take(64).map(|prime| fraction((prime as f64).cbrt())).collect();
    let mut state: Vec<u32> = primes().take(8).map(|prime| fraction((prime as f64).sqrt())).collect();

    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());

    for block in padded.chunks_exact(64) {
        let mut schedule: Vec<u32> =
            block.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        for at in 16..64 {
            let (a, b) = (schedule[at - 15], schedule[at - 2]);
            let small = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let large = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            schedule.push(
                schedule[at - 16].wrapping_add(small).wrapping_add(schedule[at - 7]).wrapping_add(large),
            );
        }
        let mut v: [u32; 8] = state.clone().try_into().unwrap();
        for at in 0..64 {
            let [a, b, c, d, e, f, g, h] = v;
            let first = h
                .wrapping_add(e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
                .wrapping_add((e & f) ^ (!e & g))
                .wrapping_add(constants[at])
                .wrapping_add(schedule[at]);
            let second = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22))
                .wrapping_add((a & b) ^ (a & c) ^ (b & c));
            v = [first.wrapping_add(second), a, b, c, d.wrapping_add(first), e, f, g];
        }
        state.iter_mut().zip(v).for_each(|(state, v)| *state = state.wrapping_add(v));
    }
    let mut digest = [0; 32];
    digest.chunks_exact_mut(4).zip(state).for_each(|(part, word)| part.copy_from_slice(&word.to_be_bytes()));
    digest
}

#[test]
fn the_digest_is_sha256() {
    assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(hex(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
