//! `tenantry completions`.

use clap_complete::Shell;

use super::Context;
use crate::error::{Error, Exit};

/// Print shell completions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tenantry completions bash > ~/.local/share/bash-completion/completions/tenantry")]
pub struct Args {
    /// Which shell.
    shell: Shell,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::definition(), "tenantry", &mut text);
    context.ui.raw(&String::from_utf8_lossy(&text));
    Ok(Exit::Ok)
}
