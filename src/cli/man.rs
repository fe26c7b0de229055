//! `tenantry man`.

use std::path::PathBuf;

use super::Context;
use crate::error::{Error, Exit};

/// Print the manual page, or write one page for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tenantry man | man -l -")]
pub struct Args {
    /// Write all pages into this folder instead.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    if let Some(folder) = &args.folder {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        clap_mangen::generate_to(super::definition(), folder).map_err(|e| Error::io("write", folder, e))?;
        context.ui.done(&format!("manual pages written to {}", folder.display()));
        return Ok(Exit::Ok);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(super::definition())
        .render(&mut page)
        .map_err(|e| Error::io("write", std::path::Path::new("the manual page"), e))?;
    context.ui.raw(&String::from_utf8_lossy(&page));
    Ok(Exit::Ok)
}
