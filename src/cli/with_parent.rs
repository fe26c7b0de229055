//! A hidden command: runs a program that is killed when its parent exits, however the
//! parent exits. `tenantry verify` starts its throwaway server with it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::error::{Error, Exit};

/// Run a program that ends with its parent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The parent.
    parent: u32,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    program: Vec<OsString>,
}

pub fn run(args: &Args) -> Result<Exit, Error> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // The parent may have exited before the signal was requested.
        let parent = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent != Some(args.parent) {
            return Ok(Exit::Unavailable);
        }
    }
    let error = Command::new(&args.program[0]).args(&args.program[1..]).exec();
    Err(Error::cannot_run(args.program[0].as_ref(), error))
}
