//! How arguments turn into types and types into arguments, with and without binary values.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]
#![allow(clippy::needless_pass_by_value, reason = "values are moved in to keep the lists of them short")]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::Serialize;
use serde_json::value::RawValue;
use sio_protocol::socketio::{
    ArgsError, EncodeError, OwnedArgs, Packet, RawArgs, Value, read_value, write_args, write_event,
    write_value,
};

/// Bytes as `serde_bytes` has them.
#[derive(Debug, PartialEq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

fn event<T: Serialize + ?Sized>(args: &T) -> Result<(String, Vec<Bytes>), EncodeError> {
    let (mut data, mut attachments) = (Vec::new(), Vec::new());
    write_event(&mut data, &mut attachments, "e", args)?;
    Ok((String::from_utf8(data).unwrap(), attachments))
}

fn text<T: Serialize + ?Sized>(args: &T) -> String {
    event(args).unwrap().0
}

/// Sends a value and receives it again, as one argument and among others.
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    let (data, attachments) = event(&(&value,)).unwrap();
    let packet = Packet::event("/", None, data, attachments);
    assert_eq!(packet.args().len(), 1);
    assert_eq!(packet.args().deserialize::<(T,)>().unwrap().0, value, "{packet:?}");
    assert_eq!(packet.args().to_owned().deserialize::<(T,)>().unwrap().0, value, "{packet:?}");

    let (data, attachments) = event(&(1, &value, Bytes::from_static(b"more"))).unwrap();
    let packet = Packet::event("/", None, data, attachments);
    let (one, seen, more): (u8, T, Bytes) = packet.args().deserialize().unwrap();
    assert_eq!((one, &seen, &*more), (1, &value, &b"more"[..]), "{packet:?}");

    let (mut data, mut attachments) = (Vec::new(), Vec::new());
    write_value(&mut data, &mut attachments, &value).unwrap();
    let seen: T = read_value(std::str::from_utf8(&data).unwrap(), &attachments).unwrap();
    assert_eq!(seen, value);
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Upload {
    name: String,
    content: Bytes,
    parts: Vec<Blob>,
    by_key: BTreeMap<String, Bytes>,
    maybe: Option<Blob>,
    none: Option<Blob>,
    size: f64,
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Wrapped(Upload);

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Flat {
    kind: u8,
    #[serde(flatten)]
    upload: Upload,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum External {
    Unit,
    Newtype(Blob),
    Tuple(u8, Bytes),
    Struct { a: Bytes, b: i64 },
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Newtype(Box<Upload>),
    Struct { a: Bytes, b: Option<Blob> },
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    Newtype(Blob),
    Struct { a: Bytes },
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Untagged {
    // First, because a String takes bytes that are UTF-8, and `Bytes` takes text and lists too: that is
    // serde's doing.
    Binary(Blob),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Map { inner: Blob },
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
enum Name {
    First,
    Second,
}

fn blob(text: &str) -> Blob {
    Blob(text.as_bytes().to_vec())
}

fn upload() -> Upload {
    Upload {
        name: "a \"b\"\n.txt".into(),
        content: "content".into(),
        parts: vec![blob("one"), blob(""), blob("three")],
        by_key: [("x".to_owned(), "y".into()), ("z\\".to_owned(), Bytes::new())].into(),
        maybe: Some(blob("maybe")),
        none: None,
        size: 1.5e300,
    }
}

#[test]
fn binary_values_survive_wherever_they_sit() {
    survives(blob("b"));
    survives(Bytes::from_static(b"\0\xff"));
    survives(upload());
    survives(Wrapped(upload()));
    survives(vec![Some(upload()), None]);
    survives(Flat { kind: 7, upload: upload(), rest: [("extra".into(), Value::Binary("v".into()))].into() });
    for value in [
        External::Unit,
        External::Newtype(blob("n")),
        External::Tuple(1, "t".into()),
        External::Struct { a: "s".into(), b: -1 },
    ] {
        survives(value);
    }
    for value in [
        Internal::Unit,
        Internal::Newtype(Box::new(upload())),
        Internal::Struct { a: "s".into(), b: Some(blob("b")) },
    ] {
        survives(value);
    }
    for value in [Adjacent::Unit, Adjacent::Newtype(blob("n")), Adjacent::Struct { a: "s".into() }] {
        survives(value);
    }
    survives(vec![
        Untagged::Number(1.0),
        Untagged::Text("t".into()),
        Untagged::Binary(blob("b")),
        Untagged::List(vec![Untagged::Binary(blob("c")), Untagged::List(vec![])]),
        Untagged::Map { inner: blob("m") },
    ]);
    survives(((blob("a"), [blob("b"), blob("c")]), BTreeMap::from([("k".to_owned(), vec![blob("d")])])));
    survives(Value::Array(vec![
        Value::Binary("b".into()),
        Value::Object(vec![("a".into(), Value::Binary("c".into()))]),
    ]));
}

#[test]
fn plain_values_survive() {
    survives(());
    survives(Unit);
    survives('é');
    survives((i8::MIN, i16::MIN, i32::MIN, i64::MIN));
    survives((u8::MAX, u16::MAX, u32::MAX, u64::MAX));
    survives((f32::MIN_POSITIVE, f64::MAX, 0.1_f64, 0.1_f32, true));
    survives(HashMap::from([(1_u64, "a".to_owned()), (u64::MAX, "b".to_owned())]));
    survives(BTreeMap::from([(-1_i8, 'a'), (5, 'b')]));
    survives(BTreeMap::from([(true, Some(1)), (false, None)]));
    survives(BTreeMap::from([(Name::First, Name::Second)]));
    survives(BTreeMap::from([(Some(Box::new("k".to_owned())), ())]));
    survives("\"\\/\u{8}\u{c}\n\r\t\0é\u{2028}😀".to_owned());
    survives(Some(Some(3)));
}

#[test]
fn wide_integers_survive_without_attachments() {
    // serde's buffer for binary values has no 128 bits, and JavaScript has 53.
    let args = OwnedArgs::new(format!("[{},{}]", i128::MIN, u128::MAX), vec![]);
    assert_eq!(args.deserialize::<(i128, u128)>().unwrap(), (i128::MIN, u128::MAX));
    assert_eq!(text(&(i128::MIN, u128::MAX)), format!("[\"e\",{},{}]", i128::MIN, u128::MAX));
}

#[test]
fn attachments_are_numbered_in_the_order_of_the_text() {
    let (data, attachments) =
        event(&("a", blob("0"), [blob("1")], BTreeMap::from([("k", blob("2"))]))).unwrap();
    let place = |index| format!("{{\"_placeholder\":true,\"num\":{index}}}");
    assert_eq!(data, format!("[\"e\",\"a\",{},[{}],{{\"k\":{}}}]", place(0), place(1), place(2)));
    assert_eq!(attachments, ["0", "1", "2"]);
}

#[test]
fn the_same_bytes_twice_are_two_attachments() {
    let bytes = Bytes::from_static(b"x");
    assert_eq!(event(&(&bytes, &bytes)).unwrap().1.len(), 2);
}

#[test]
fn placeholders_may_repeat_skip_and_come_in_any_order() {
    let place = |index| format!("{{\"_placeholder\":true,\"num\":{index}}}");
    let data = format!("[\"e\",{},{},{}]", place(2), place(0), place(2));
    let packet = Packet::event("/", None, data, vec!["0".into(), "1".into(), "2".into()]);
    assert_eq!(
        packet.args().deserialize::<(Bytes, Blob, Vec<u8>)>().unwrap(),
        ("2".into(), blob("0"), b"2".to_vec())
    );
}

#[test]
fn placeholders_are_data_without_attachments() {
    let packet = Packet::event("/", None, r#"["e",{"_placeholder":true,"num":0}]"#, vec![]);
    let value: BTreeMap<String, Value> = packet.args().deserialize().unwrap();
    assert_eq!(value["num"], Value::from(0));
    assert!(packet.args().deserialize::<Bytes>().is_err());
}

#[test]
fn binary_is_not_text_even_if_it_is_utf_8() {
    let placeholder = r#"["e",{"_placeholder":true,"num":0}]"#;
    let packet = Packet::event("/", None, placeholder, vec![Bytes::from_static(b"text")]);
    let error = packet.args().deserialize::<String>().unwrap_err();
    assert_eq!(error.to_string(), "argument 0: invalid type: byte array, expected a string");
    assert!(packet.args().deserialize::<(String,)>().is_err());
    assert!(packet.args().deserialize::<Option<String>>().is_err());
    assert_eq!(packet.args().deserialize::<Bytes>().unwrap(), "text");
}

#[test]
fn a_placeholder_without_its_attachment_is_an_error_and_not_a_panic() {
    let packet = Packet::event("/", None, r#"["e",{"_placeholder":true,"num":9}]"#, vec!["x".into()]);
    assert!(packet.args().deserialize::<Bytes>().is_err());
    assert!(packet.args().values().is_err());
}

#[test]
fn the_top_level_tells_several_arguments_from_one() {
    #[derive(serde::Serialize)]
    struct Pair(u8, u8);
    #[derive(serde::Serialize)]
    struct Several((u8, u8));
    assert_eq!(text(&()), "[\"e\"]");
    assert_eq!(text(&(1, "a", true)), "[\"e\",1,\"a\",true]");
    assert_eq!(text(&("one",)), "[\"e\",\"one\"]");
    assert_eq!(text(&((1, 2),)), "[\"e\",[1,2]]");
    assert_eq!(text(&vec![1, 2]), "[\"e\",[1,2]]");
    assert_eq!(text(&[1, 2]), "[\"e\",1,2]");
    assert_eq!(text(&[1, 2][..]), "[\"e\",[1,2]]");
    assert_eq!(text(&Pair(1, 2)), "[\"e\",[1,2]]");
    assert_eq!(text(&Several((1, 2))), "[\"e\",1,2]");
    assert_eq!(text(&Some((1, 2))), "[\"e\",1,2]");
    assert_eq!(text(&None::<u8>), "[\"e\",null]");
    assert_eq!(text(&Unit), "[\"e\",null]");
    assert_eq!(text("text"), "[\"e\",\"text\"]");
    assert_eq!(text(&blob("b")), "[\"e\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(text(&External::Unit), "[\"e\",\"Unit\"]");
    assert_eq!(
        text(&External::Tuple(1, "x".into())),
        "[\"e\",{\"Tuple\":[1,{\"_placeholder\":true,\"num\":0}]}]"
    );
    assert_eq!(text(&BTreeMap::from([("a", 1)])), "[\"e\",{\"a\":1}]");
    assert_eq!(text(&format_args!("a{}\"", 1)), "[\"e\",\"a1\\\"\"]");

    let ack = |args: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        args(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(ack(&|out| write_args(out, &mut vec![], &()).unwrap()), "[]");
    assert_eq!(ack(&|out| write_args(out, &mut vec![], &(1, 2)).unwrap()), "[1,2]");
    assert_eq!(ack(&|out| write_args(out, &mut vec![], "x").unwrap()), "[\"x\"]");
}

#[test]
fn the_event_name_is_escaped() {
    let mut data = Vec::new();
    write_event(&mut data, &mut vec![], "a\"\n", &()).unwrap();
    assert_eq!(data, br#"["a\"\n"]"#);
}

#[test]
fn numbers_are_written_as_javascript_writes_them() {
    let values = (1.0, -0.0, 1e21, 1e-7, 0.1_f32, f64::NAN, f64::INFINITY, u64::MAX);
    assert_eq!(text(&values), "[\"e\",1,0,1e+21,1e-7,0.1,null,null,18446744073709551615]");
}

#[test]
fn what_cannot_be_written_leaves_no_trace() {
    let (mut data, mut attachments) = (b"before".to_vec(), vec![Bytes::from_static(b"before")]);
    let bad = BTreeMap::from([((1, 2), blob("x"))]);
    let result = write_event(&mut data, &mut attachments, "e", &(blob("y"), bad));
    assert_eq!(result, Err(EncodeError::KeyNotText("tuple")));
    assert_eq!((&data[..], attachments.len()), (&b"before"[..], 1));
}

#[test]
fn a_map_that_looks_like_a_placeholder_is_not_sent_beside_binary_values() {
    let map = BTreeMap::from([("_placeholder", true)]);
    assert!(event(&map).is_ok());
    assert_eq!(event(&(&map, blob("x"))), Err(EncodeError::PlaceholderKey));
}

#[test]
fn finished_json_cannot_bring_a_placeholder_along_either() {
    for text in [
        r#"{"_placeholder":true,"num":5}"#,
        r#"[1,{"num":0, "_placeholder" :true}]"#,
        r#"{"\u005fplaceholder":true,"num":0}"#,
    ] {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        let (data, attachments) = event(&raw).unwrap();
        assert_eq!((data, attachments.len()), (format!(r#"["e",{text}]"#), 0));
        assert_eq!(event(&(&raw, blob("x"))), Err(EncodeError::PlaceholderKey), "{text}");
    }
    for text in [r#"{"a":"_placeholder"}"#, r#"["_placeholder","\u005fplaceholder",{"placeholder":1}]"#] {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert!(event(&(&raw, blob("x"))).is_ok(), "{text}");
    }
}

#[test]
fn any_number_of_maps_that_look_like_placeholders_is_written_in_one_pass() {
    let one = Value::Object(vec![("_placeholder".to_owned(), true.into()), ("num".to_owned(), 0.into())]);
    // What takes a moment in one pass takes minutes if everything behind is moved for each of them.
    let many = Value::Array(vec![one; 300_000]);
    let (data, attachments) = event(&many).unwrap();
    assert_eq!(data, format!(r#"["e",{}]"#, serde_json::to_string(&many).unwrap()));
    assert!(attachments.is_empty());
}

#[test]
fn arguments_deserialise_by_position() {
    let packet = Packet::event("/", None, r#"["e", 1 , "two",[3.0],null]"#, vec![]);
    let args = packet.args();
    assert_eq!(args.len(), 4);
    assert!(!args.is_empty());
    assert_eq!(args.json(), r#"1 , "two",[3.0],null"#);
    assert_eq!(args.deserialize::<u8>(), Ok(1));
    assert_eq!(args.deserialize::<(u8,)>(), Ok((1,)));
    assert_eq!(args.deserialize::<(u8, String)>(), Ok((1, "two".into())));
    assert_eq!(
        args.deserialize::<(u8, &str, (f64,), Option<u8>, Option<u8>)>(),
        Ok((1, "two", (3.0,), None, None))
    );
    assert_eq!(args.deserialize::<()>(), Ok(()));
    assert_eq!(args.deserialize::<Option<u8>>(), Ok(Some(1)));
    assert_eq!(args.deserialize::<Value>(), Ok(1.into()));
    assert_eq!(args.values().unwrap().len(), 4);
}

#[test]
fn a_missing_argument_is_null_to_those_who_accept_it() {
    for attachments in [vec![], vec![Bytes::from_static(b"unused")]] {
        let packet = Packet::event("/", None, r#"["e"]"#, attachments.clone());
        let args = packet.args();
        assert_eq!((args.len(), args.is_empty(), args.json()), (0, true, ""));
        assert_eq!(args.deserialize::<()>(), Ok(()));
        assert_eq!(args.deserialize::<Option<u8>>(), Ok(None));
        assert_eq!(args.deserialize::<Value>(), Ok(Value::Null));
        assert_eq!(args.deserialize::<(Option<u8>, Value)>(), Ok((None, Value::Null)));
        assert_eq!(args.deserialize::<u8>(), Err(ArgsError::Missing { index: 0 }));
        assert_eq!(args.deserialize::<Vec<u8>>(), Err(ArgsError::Missing { index: 0 }));
        assert_eq!(args.deserialize::<Name>().map(|_| ()), Err(ArgsError::Missing { index: 0 }));

        let packet = Packet::event("/", None, r#"["e",1]"#, attachments);
        let result = packet.args().deserialize::<(u8, String)>();
        assert_eq!(result, Err(ArgsError::Missing { index: 1 }));
        assert_eq!(result.unwrap_err().to_string(), "argument 1 is missing");
    }
}

#[test]
fn errors_say_which_argument_is_wrong() {
    for attachments in [vec![], vec![Bytes::from_static(b"unused")]] {
        let packet = Packet::event("/", None, r#"["e",1,"two"]"#, attachments);
        let error = packet.args().deserialize::<(u8, u8)>().unwrap_err();
        assert_eq!(error.to_string(), "argument 1: invalid type: string \"two\", expected u8");
        let error = packet.args().deserialize::<String>().unwrap_err();
        assert_eq!(error.to_string(), "argument 0: invalid type: integer `1`, expected a string");
    }
}

#[test]
fn acks_have_arguments_from_the_start() {
    let packet = Packet::ack("/", 1, r#"["a",2]"#, vec![]);
    assert_eq!(packet.args().deserialize::<(String, u8)>(), Ok(("a".into(), 2)));
    assert_eq!(packet.event_name(), None);
    assert!(Packet::ack("/", 1, "[]", vec![]).args().is_empty());
    assert!(Packet::ack("/", 1, "", vec![]).args().is_empty());
    assert!(Packet::connect("/", "{\"a\":1}").args().is_empty());
}

#[test]
fn payloads_deserialise() {
    let packet = Packet::connect("/", r#"{"token":"x"}"#);
    assert_eq!(packet.payload::<HashMap<String, String>>().unwrap()["token"], "x");
    assert_eq!(Packet::connect("/", "").payload::<Option<Value>>(), Ok(None));
    assert_eq!(Packet::connect_error("/", "\"no\"").payload::<String>(), Ok("no".into()));
}

#[test]
fn raw_json_passes_through() {
    let raw: Box<RawValue> = serde_json::from_str("{\"a\" : [1.0, 1e2]}").unwrap();
    assert_eq!(text(&raw), "[\"e\",{\"a\" : [1.0, 1e2]}]");
    for attachments in [vec![], vec![Bytes::from_static(b"unused")]] {
        let packet = Packet::event("/", None, r#"["e", {"a" : [1.0]} ,2]"#, attachments);
        assert_eq!(packet.args().deserialize::<&RawValue>().unwrap().get(), "{\"a\" : [1.0]}");
        let (first, second): (Box<RawValue>, &RawValue) = packet.args().deserialize().unwrap();
        assert_eq!((first.get(), second.get()), ("{\"a\" : [1.0]}", "2"));
    }
    let packet = Packet::event("/", None, r#"["e",[{"_placeholder":true,"num":0}]]"#, vec!["x".into()]);
    assert!(packet.args().deserialize::<Box<RawValue>>().is_err());
}

#[test]
fn arguments_can_be_sent_on() {
    let data = r#"["e",1,{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#;
    let packet = Packet::event("/", None, data, vec!["0".into(), "1".into()]);
    let (sent_on, attachments) = event(&packet.args()).unwrap();
    assert_eq!(sent_on, r#"["e",1,{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]"#);
    assert_eq!(attachments, ["1", "0"]);
    assert_eq!(event(&packet.args().to_owned()).unwrap(), (sent_on, attachments));
    assert_eq!(text(&Packet::event("/", None, "[\"x\"]", vec![]).args()), "[\"e\"]");
}

#[test]
fn text_that_is_no_json_gives_errors() {
    for data in [
        "",
        "[",
        "[\"e\"",
        "[\"e\",",
        "[\"e\",}",
        "[\"e\",1",
        "[\"e\",\"x",
        "nonsense",
        "[\"e\",{\"a\"1}]",
        "é[é",
    ] {
        for attachments in [vec![], vec![Bytes::from_static(b"x")]] {
            let packet = Packet::event("/", None, data, attachments);
            let _ = packet.event_name();
            let args = packet.args();
            let _ = (args.len(), args.is_empty(), args.json(), args.values(), args.to_owned());
            let _ = args.deserialize::<Value>();
            let _ = args.deserialize::<(Value, Value)>();
            let _ = args.deserialize::<BTreeMap<String, String>>();
        }
    }
    let deep = format!("[\"e\",{}]", "[".repeat(100_000));
    for attachments in [vec![], vec![Bytes::from_static(b"x")]] {
        assert!(Packet::event("/", None, deep.as_str(), attachments).args().deserialize::<Value>().is_err());
    }
    assert!(RawArgs::new("{}", &[]).is_empty());
}

#[test]
fn values_keep_order_and_digits() {
    let json = r#"{"b":1,"a":[0.1,18446744073709551615,-5,"x",null,true],"10":{},"b":2}"#;
    let value: Value = serde_json::from_str(json).unwrap();
    assert_eq!(value.get("b"), Some(&2.into()));
    let (mut out, mut attachments) = (Vec::new(), Vec::new());
    write_value(&mut out, &mut attachments, &value).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), json);
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    assert_eq!(
        Value::from(serde_json::json!([1, -1, 1.5, "a", null, {"k": true}])),
        serde_json::from_str("[1,-1,1.5,\"a\",null,{\"k\":true}]").unwrap()
    );
    assert_eq!(Value::from(1.0), Value::from(1_u64));
    assert_eq!(Value::from(1e21).as_number().unwrap().to_string(), "1e+21");
}
