//! `tenantry schema`.

use super::Context;
use crate::error::{Error, Exit};
use crate::registry;

/// Print the JSON Schema of tenants.toml, for editors.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tenantry schema > tenants.schema.json
An editor with a TOML language server reads it from a first line in tenants.toml:
  #:schema ./tenants.schema.json")]
pub struct Args {
    /// The schema of a file that tenants.toml includes.
    #[arg(long)]
    included: bool,
    /// A page for people instead.
    #[arg(long, conflicts_with = "included")]
    markdown: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    if args.markdown {
        context.ui.raw(&registry::reference::page());
        return Ok(Exit::Ok);
    }
    let schema = if args.included { registry::included_schema() } else { registry::schema() };
    context.ui.raw(&(serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"));
    Ok(Exit::Ok)
}
