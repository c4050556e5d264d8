//! From types straight to MessagePack: the same bytes as by way of JSON, for whatever a type may ask of a serialiser.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod socketio_support;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use sio_protocol::Limits;
use sio_protocol::cluster::classic::Broadcast;
use sio_protocol::cluster::{EMITTER, Flags, Opts, Payload};
use sio_protocol::msgpack::{Dialect, Writer, write_event, write_json};
use sio_protocol::socketio::{self, EncodeError, Packet, Value};
use socketio_support::{Generator, hex};

fn straight<T: Serialize + ?Sized>(args: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    write_event(&mut Writer::new(&mut out, Dialect::Notepack3), "e", args)?;
    Ok(out)
}

fn by_way_of_json<T: Serialize + ?Sized>(args: &T) -> Vec<u8> {
    let (mut data, mut attachments) = (Vec::new(), Vec::new());
    socketio::write_event(&mut data, &mut attachments, "e", args).unwrap();
    let mut out = Vec::new();
    let data = String::from_utf8(data).unwrap();
    write_json(&data, &attachments, &mut Writer::new(&mut out, Dialect::Notepack3)).unwrap();
    out
}

#[track_caller]
fn same<T: Serialize + ?Sized>(args: &T) {
    assert_eq!(hex(&straight(args).unwrap()), hex(&by_way_of_json(args)));
}

/// As the only argument, among several, and in a list.
#[track_caller]
fn same_everywhere<T: Serialize>(value: &T) {
    same(value);
    same(&(value,));
    same(&(1, value, "x"));
    same(&vec![value]);
    same(&Some(value));
    same(&BTreeMap::from([("k", value)]));
}

#[derive(Serialize)]
struct Struct<T> {
    a: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u8>,
    b: Option<T>,
}

#[derive(Serialize)]
struct Flat<T> {
    first: u8,
    #[serde(flatten)]
    rest: Struct<T>,
}

#[derive(Serialize)]
struct Newtype<T>(T);

#[derive(Serialize)]
struct TupleStruct(u8, &'static str);

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
enum External<T> {
    Unit,
    Newtype(T),
    Tuple(u8, T),
    Struct { a: T, b: u8 },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Internal<T> {
    Unit,
    Newtype(Struct<T>),
}

#[derive(Serialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent<T> {
    Unit,
    Tuple(u8, T),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Untagged<T> {
    Unit,
    Newtype(T),
}

/// A map whose keys are values of any type.
struct Keys<K>(K);

impl<K: Serialize> Serialize for Keys<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&self.0, &1)?;
        map.end()
    }
}

struct Blob(&'static [u8]);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn plain_values() {
    for value in [0, 1, -1, 127, 128, -32, -33, 255, 256, -129, 65_536, i64::MIN, i64::MAX] {
        same_everywhere(&value);
        same_everywhere(&(i128::from(value) * 3));
        same_everywhere(&(value as u64));
    }
    same_everywhere(&(1_u8, 2_u16, 3_u32, -1_i8, -2_i16, -3_i32));
    for value in [u128::MAX, u128::from(u64::MAX) + 1, 0] {
        same_everywhere(&value);
    }
    same_everywhere(&i128::MIN);
    same_everywhere(&i128::MAX);
    for value in
        [0.0, -0.0, 1.0, 1.5, -2.0, 1e300, 1e-300, 5e-324, 1e15, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
    {
        same_everywhere(&value);
    }
    for value in [0.1_f32, 1.0, -0.0, 1e10, 3.4e38, f32::MIN_POSITIVE, f32::NAN, f32::INFINITY] {
        same_everywhere(&value);
    }
    same_everywhere(&true);
    same_everywhere(&'ü');
    for length in [0, 1, 31, 32, 255, 256, 65_536] {
        same_everywhere(&"x".repeat(length));
    }
    same_everywhere(&"quote \" backslash \\ newline \n zero \0 é 😀");
    same_everywhere(&None::<u8>);
    same_everywhere(&Some(Some(1)));
    same_everywhere(&());
    same_everywhere(&Unit);
    same_everywhere(&"127.0.0.1".parse::<IpAddr>().unwrap());
    same_everywhere(&format_args!("{}-{}", 1, "\"x\""));
}

#[test]
fn large_doubles_keep_their_exact_value() {
    // The shortest text that means this double ends in zeros.
    assert_eq!(
        straight(&12_345_678_901_234_567_168.0).unwrap(),
        b"\x92\xa1e\xcf\xab\x54\xa9\x8c\xeb\x1f\x08\x00"
    );
    assert_eq!(
        straight(&-9_007_199_254_740_994.0).unwrap(),
        b"\x92\xa1e\xd3\xff\xdf\xff\xff\xff\xff\xff\xfe"
    );
    same(&1e16);
    same(&1e25);
}

#[test]
fn compound_values() {
    same(&[1, 2]);
    same(&(1, (2, 3), [4]));
    same(&TupleStruct(1, "x"));
    for length in [0, 1, 15, 16, 17, 300, 70_000] {
        same_everywhere(&vec![1; length]);
        same_everywhere(&(0..length).map(|n| (n, n)).collect::<BTreeMap<_, _>>());
    }
    let inner = || Struct { a: Newtype("x"), left_out: None, b: Some(Newtype("y")) };
    same_everywhere(&inner());
    same_everywhere(&Flat { first: 1, rest: inner() });
    same_everywhere(&[External::Unit, External::Newtype(inner()), External::Tuple(1, inner())]);
    same_everywhere(&External::Struct { a: External::Tuple(1, [2, 3]), b: 1 });
    same_everywhere(&External::Newtype(External::Newtype(External::<u8>::Unit)));
    same_everywhere(&[Internal::Unit, Internal::Newtype(inner())]);
    same_everywhere(&[Adjacent::Unit, Adjacent::Tuple(1, inner())]);
    same_everywhere(&[Untagged::Unit, Untagged::Newtype(inner())]);
}

#[test]
fn keys_are_text() {
    same_everywhere(&Keys("a\"b\n"));
    same_everywhere(&Keys(String::from("ü")));
    same_everywhere(&Keys('x'));
    same_everywhere(&Keys(true));
    same_everywhere(&Keys(-5_i8));
    same_everywhere(&Keys(u64::MAX));
    same_everywhere(&Keys(i128::MIN));
    same_everywhere(&Keys(u128::MAX));
    same_everywhere(&Keys(1.0));
    same_everywhere(&Keys(0.1_f32));
    same_everywhere(&Keys(f64::NAN));
    same_everywhere(&Keys(Some(Newtype("x"))));
    same_everywhere(&Keys(External::<u8>::Unit));
    same_everywhere(&Keys(format_args!("{}", 1)));
    for (refused, kind) in [
        (straight(&Keys(())), "unit"),
        (straight(&Keys(None::<u8>)), "none"),
        (straight(&Keys([1, 2])), "tuple"),
        (straight(&Keys(Blob(b"x"))), "bytes"),
        (straight(&Keys(External::Newtype(1))), "enum variant with content"),
        (straight(&Keys(HashMap::<u8, u8>::new())), "map"),
    ] {
        assert_eq!(refused, Err(EncodeError::KeyNotText(kind)));
    }
}

#[test]
fn bytes_stay_where_they_are() {
    for length in [0, 1, 255, 256, 65_536] {
        same_everywhere(&Bytes::from(vec![7; length]));
    }
    same_everywhere(&Struct { a: Blob(b"x"), left_out: None, b: Some(Blob(b"")) });
    same_everywhere(&[External::Unit, External::Tuple(1, Blob(b"x"))]);
}

#[test]
fn finished_json_is_translated() {
    for json in ["1", " [1 , 2.0,\"\\u00e9\"] ", r#"{"a":null,"a":1e400}"#, "12345678901234567890123"] {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        same_everywhere(&raw);
        same_everywhere(&Struct { a: &raw, left_out: None, b: None });
    }
}

#[test]
fn a_map_that_looks_like_a_placeholder_is_refused_beside_bytes() {
    let looks = BTreeMap::from([("_placeholder", true)]);
    same_everywhere(&looks);
    same_everywhere(&"_placeholder");
    assert_eq!(straight(&(&looks, Blob(b"x"))), Err(EncodeError::PlaceholderKey));
    assert_eq!(straight(&(Blob(b"x"), &looks)), Err(EncodeError::PlaceholderKey));
    // Finished JSON is no way around it, however the key is spelled.
    for text in [r#"[{"num":0, "_placeholder":true}]"#, r#"{"\u005fplaceholder":true,"num":0}"#] {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert!(straight(&raw).is_ok(), "{text}");
        assert_eq!(straight(&(&raw, Blob(b"x"))), Err(EncodeError::PlaceholderKey), "{text}");
    }
}

/// Lists in lists.
struct Deep(usize);

impl Serialize for Deep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_u8(0),
            depth => [Self(depth - 1)].as_slice().serialize(serializer),
        }
    }
}

/// Variants in variants.
#[derive(Serialize)]
enum Chain {
    End,
    Next(Box<Self>),
    Pair(u8, Box<Self>),
}

#[test]
fn nesting_has_the_limit_that_readers_have() {
    // The list of arguments is the first level.
    same(&Deep(126));
    let error = straight(&Deep(127)).unwrap_err().to_string();
    assert_eq!(error, "nested deeper than 127 levels");
    let chain = |length| (0..length).fold(Chain::End, |chain, _| Chain::Next(Box::new(chain)));
    same(&chain(126));
    assert!(straight(&chain(127)).is_err());
    let pairs = |length| (0..length).fold(Chain::End, |chain, _| Chain::Pair(1, Box::new(chain)));
    same(&pairs(63));
    assert!(straight(&pairs(64)).is_err());
    // What was closed does not count.
    same(&(0..200).map(|_| (pairs(20), chain(20), Deep(20))).collect::<Vec<_>>());
    let raw = RawValue::from_string("[".repeat(100) + &"]".repeat(100)).unwrap();
    same(&vec![vec![&raw]]);
    let raw = RawValue::from_string("[".repeat(126) + &"]".repeat(126)).unwrap();
    same(&raw);
    assert!(straight(&vec![&raw]).is_err());
}

#[test]
fn generated_values() {
    let mut random = Generator::new(11);
    for _ in 0..5_000 {
        let value = random.value(4, true);
        match straight(&(&value, 1)) {
            Ok(bytes) => {
                let doubles = |value: &Value| value.as_f64().is_some_and(|number| number.abs() > 9e15);
                // Those that the text rounds are compared above.
                if !any(&value, &doubles) {
                    assert_eq!(hex(&bytes), hex(&by_way_of_json(&(&value, 1))));
                }
            }
            Err(EncodeError::PlaceholderKey) => assert!(any(&value, &|value| value.as_binary().is_some())),
            Err(other) => panic!("{other}"),
        }
    }
}

fn any(value: &Value, condition: &impl Fn(&Value) -> bool) -> bool {
    condition(value)
        || value.as_array().is_some_and(|items| items.iter().any(|item| any(item, condition)))
        || value.as_object().is_some_and(|entries| entries.iter().any(|(_, value)| any(value, condition)))
}

#[test]
fn a_broadcast_is_the_same_with_a_packet_and_without() {
    let mut random = Generator::new(12);
    let rooms = ["a".to_owned(), "b".to_owned()];
    for round in 0..500 {
        let value = Value::from(random.text());
        let mut flags = Flags::default();
        flags.volatile = round % 2 == 0;
        flags.compress = (round % 3 == 0).then_some(round % 5 == 0);
        let opts = Opts::new(&rooms[..round % 3], &rooms[..round % 2], flags);
        let (uid, nsp) = (*random.pick(&[EMITTER, "Ab_-12"]), *random.pick(&["/", "/chat"]));
        let (mut data, mut attachments) = (Vec::new(), Vec::new());
        let args = (&value, Bytes::from(random.bytes(9)), 1.5);
        socketio::write_event(&mut data, &mut attachments, "e", &args).unwrap();
        let packet = Packet::event(nsp, None, String::from_utf8(data).unwrap(), attachments);
        let (mut with, mut without) = (b"before".to_vec(), b"before".to_vec());
        Broadcast::new(uid, Payload::from(&packet), opts.clone()).encode(&mut with).unwrap();
        Broadcast::encode_event(uid, nsp, "e", &args, &opts, &mut without).unwrap();
        assert_eq!(hex(&without), hex(&with));
        let message = Bytes::from(without).slice(6..);
        assert_eq!(Broadcast::decode(&message, &Limits::default()).unwrap().opts, opts);
    }
    let mut out = b"before".to_vec();
    let failed = Broadcast::encode_event(EMITTER, "/", "e", &(1, Keys(())), &Opts::default(), &mut out);
    assert_eq!((failed, &*out), (Err(EncodeError::KeyNotText("unit")), &b"before"[..]));
}
