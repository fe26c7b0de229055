//! `tenantry handout`.

use std::fs::{self, OpenOptions};
use std::io::{self, Cursor, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use zip::write::SimpleFileOptions;

use super::{Context, creds, split_user};
use crate::error::{Error, Exit};
use crate::keys::{AccountKind, RootKey};
use crate::model::{Tenant, User};
use crate::registry::Valid;
use crate::render::credentials::{ClientSecret, client_secrets};
use crate::render::engine::Engine;
use crate::render::{self, FileKind, Holder, handout};

/// Write what one tenant's developers need: a page, and their credentials.
///
/// The page shows the tenant's own subjects, limits, users, streams and shares, and how to connect.
/// It holds no secret and names no other tenant. Without --out it goes to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tenantry handout TENANT_A --out tenant-a.zip
  tenantry handout TENANT_A/app --url docker --out app.zip
  tenantry handout TENANT_A > TENANT_A.md")]
pub struct Args {
    /// The tenant, or one of its users alone.
    #[arg(value_name = "TENANT[/USER]")]
    who: String,
    /// Where to write: FILE.zip has the page, as Markdown and HTML, and the credentials; FILE.html and
    /// FILE.md have the page alone. A file that exists is not overwritten.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The URL that clients use: a URL, or a name in the registry's `[server] urls`.
    #[arg(long, value_name = "URL|NAME")]
    url: Option<String>,
    /// Use the templates of this folder.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'d> {
    tenant: &'d str,
    users: Vec<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<String>,
    /// The files in the archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'d str>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let valid = context.load()?;
    let (tenant, users) = find(&valid, &args.who)?;
    let engine = Engine::new(args.templates.as_deref())?;
    let url = creds::url(&valid.model, args.url.as_deref())?;
    let page = handout::page(&valid.model, &engine, tenant, &users.iter().collect::<Vec<_>>(), url)?;
    let mut document = Document {
        tenant: tenant.name.as_str(),
        users: users.iter().map(|user| user.name.as_str()).collect(),
        out: args.out.as_ref().map(|out| out.display().to_string()),
        files: Vec::new(),
        page: None,
    };
    let Some(out) = &args.out else {
        if context.ui.is_json() {
            document.page = Some(&page);
            context.ui.json(&document);
        } else {
            context.ui.raw(&page);
        }
        return Ok(Exit::Ok);
    };
    let extension = out.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "md" => create(out, page.as_bytes(), 0o644)?,
        "html" => create(out, html(tenant, &page).as_bytes(), 0o644)?,
        "zip" => {
            let mut files = vec![
                ("README.md".to_owned(), page.clone().into_bytes()),
                ("README.html".to_owned(), html(tenant, &page).into_bytes()),
            ];
            files.extend(credentials(&valid, &engine, tenant, &users, url)?);
            document.files = files.iter().map(|(path, _)| path.clone()).collect();
            create(out, &archive(tenant.name.as_str(), &files).map_err(|e| Error::io("write", out, e))?, 0o600)?;
        }
        _ => {
            return Err(Error::usage(
                format!("{} is none of FILE.zip, FILE.html and FILE.md", out.display()),
                format!("--out {}.zip", tenant.name),
            ));
        }
    }
    let holds = if extension == "zip" { ", with the credentials: give it to their users only" } else { "" };
    context.ui.done(&format!("{} written for {}{holds}", out.display(), args.who));
    context.ui.json(&document);
    Ok(Exit::Ok)
}

/// The tenant, and the users whose handout it is.
fn find<'m>(valid: &'m Valid, who: &str) -> Result<(&'m Tenant, Vec<User>), Error> {
    let (account, user) = split_user(who);
    let (kind, name, users) = creds::find(&valid.model, account, user)?;
    if kind == AccountKind::System {
        return Err(Error::usage(
            format!("`{name}` is the system account, which has no developers"),
            format!("`tenantry creds {name}/USER` prints an operator's credential"),
        ));
    }
    if let Some(user) = users.iter().find(|user| user.is_provisioner()) {
        return Err(Error::usage(
            format!("`{name}/{}` makes the tenant's streams: its credential is the operator's", user.name),
            "name a user of the developers",
        ));
    }
    let tenant = valid.model.tenants.iter().find(|tenant| tenant.name == *name);
    let tenant = tenant.ok_or_else(|| Error::unknown_name("tenant", account, &[]))?;
    if users.is_empty() {
        return Err(Error::usage(
            format!("tenant `{name}` has no user for a developer"),
            "add one: `tenantry user add`",
        ));
    }
    Ok((tenant, users))
}

/// The credential files of the users, each with its path in the archive.
fn credentials(
    valid: &Valid,
    engine: &Engine,
    tenant: &Tenant,
    users: &[User],
    url: &str,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let root = RootKey::load(&valid.model.root, valid.folder())?;
    let secrets = client_secrets(&root, AccountKind::Tenant, &tenant.name, users);
    let mut files = Vec::new();
    for (user, secret) in users.iter().zip(&secrets) {
        let kinds = match secret {
            ClientSecret::Seed(_) => vec![FileKind::Env, FileKind::Seed],
            _ => vec![FileKind::Env],
        };
        for kind in kinds {
            let holder = Holder { account: tenant.name.as_str(), user, secret };
            let text = render::credential_file(engine, holder, url, kind, "")?;
            files.push((handout::credential_path(user, kind), text.into_bytes()));
        }
    }
    Ok(files)
}

/// A zip archive of the files, in a folder of the tenant's name. Only their owner may read them once they are extracted.
fn archive(tenant: &str, files: &[(String, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        let mode = if path.starts_with("README") { 0o644 } else { 0o600 };
        archive.start_file(format!("{tenant}/{path}"), SimpleFileOptions::default().unix_permissions(mode))?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// Writes a file that does not exist yet.
fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::already_there(
            path.display().to_string(),
            "name another file, or remove this one: an old handout may have been given away",
        ));
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        let written = file.write_all(bytes);
        if written.is_err() {
            let _ = fs::remove_file(path);
        }
        written
    });
    written.map_err(|e| Error::io("write", path, e))
}

/// The page as one HTML file.
fn html(tenant: &Tenant, page: &str) -> String {
    let options = pulldown_cmark::Options::ENABLE_TABLES;
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, pulldown_cmark::Parser::new_ext(page, options));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{} on NATS</title>\n<style>{STYLE}</style>\n{body}</html>\n",
        tenant.name
    )
}

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: top; }
pre { background: #8881; padding: .8rem; overflow-x: auto; border-radius: 4px; }
code { font: 14px/1.4 ui-monospace, monospace; }
blockquote { border-left: 4px solid #c80; margin: 1rem 0; padding: .2rem 1rem; background: #c801; }
";
