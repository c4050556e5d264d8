//! Writes the seeds of every target to `corpus/TARGET`, where cargo fuzz looks for them.
//!
//! Run by `cargo xtask fuzz`. A seed is named after its content, so running it again adds nothing twice, and what
//! the fuzzer has found stays.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, seeds) in sio_protocol_fuzz::seeds::all()? {
        let directory = corpus.join(target);
        std::fs::create_dir_all(&directory)?;
        for seed in &seeds {
            let mut hasher = DefaultHasher::new();
            seed.hash(&mut hasher);
            std::fs::write(directory.join(format!("seed-{:016x}", hasher.finish())), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}
