//! The `tenantry` command: arguments in, exit code out.

use std::process::ExitCode;

/// A large registry is many small pieces: with the system's allocator the
/// command spends a third of its time on them (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(tenantry::cli::run(std::env::args_os()) as u8)
}
