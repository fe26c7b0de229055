//! `tenantry templates`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use super::Context;
use crate::error::{Error, Exit};
use crate::render::engine::TEMPLATES;

/// Work with the templates that files are rendered from.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write the built-in templates to a folder, to be changed and used with `--templates`.
    Eject {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// List the built-in templates.
    List,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    match &args.command {
        Command::List => {
            TEMPLATES.iter().for_each(|(name, _)| context.ui.result(name));
            context.ui.json(&TEMPLATES.iter().map(|(name, _)| name).collect::<Vec<_>>());
        }
        Command::Eject { folder } => {
            let taken: Vec<_> = TEMPLATES.iter().map(|(name, _)| folder.join(name)).filter(|p| p.exists()).collect();
            if let Some(first) = taken.first() {
                return Err(Error::already_there(first.display().to_string(), "eject into an empty folder"));
            }
            for (name, text) in TEMPLATES {
                let path = folder.join(name);
                let write = || {
                    fs::create_dir_all(path.parent().unwrap_or(folder))?;
                    OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(text.as_bytes())
                };
                write().map_err(|e: std::io::Error| Error::io("write", &path, e))?;
            }
            context.ui.done(&format!("{} templates written to {}", TEMPLATES.len(), folder.display()));
            context.ui.json(&TEMPLATES.iter().map(|(name, _)| folder.join(name)).collect::<Vec<_>>());
            context.ui.next(&format!(
                "change them, delete those that you leave as they are, then: tenantry render --templates {}",
                folder.display()
            ));
        }
    }
    Ok(Exit::Ok)
}
