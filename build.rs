//! Gives the renderer a digest of the source that it depends on, so that a cache that
//! an older build wrote is never taken for what this one would render.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The files that decide how the model becomes text. The model has a digest of its own.
const SOURCES: [&str; 7] =
    ["src/render", "src/model", "src/keys", "src/conf/writer.rs", "src/subject.rs", "templates", "Cargo.lock"];

fn main() {
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        collect(Path::new(source), &mut files);
    }
    files.sort();
    // FNV-1a: this tells builds apart, it does not protect anything.
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files {
        let name = file.to_string_lossy().into_owned().into_bytes();
        for byte in name.into_iter().chain(content(&file).into_bytes()) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo::rustc-env=TENANTRY_SOURCE={}-{digest:016x}", env::var("CARGO_PKG_VERSION").unwrap_or_default());
}

/// A file's text; of Rust only code: neither comments nor tests change what is rendered.
fn content(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    if file.extension().is_none_or(|extension| extension != "rs") {
        return text;
    }
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        collect(&entry.path(), files);
    }
}
