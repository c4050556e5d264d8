//! MessagePack to JSON and back, and JSON to MessagePack and back.
//!
//! What is checked is said, and done, in the library, so that it can also run on the seeds alone.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_protocol_fuzz::msgpack::check(input));
