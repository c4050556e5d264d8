//! Messages of the cluster.
//!
//! What is checked is said, and done, in the library, so that it can also run on the seeds alone.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_protocol_fuzz::cluster::check(input));
