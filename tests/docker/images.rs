//! The images that the cases run: those that are here, or stand-ins for them.

use std::path::Path;

use tempfile::TempDir;

use super::support::{self, DEFAULT_REGISTRY};
use super::{nats_cli, text, try_docker};

/// Marks an image as made here.
const LABEL: &str = "tenantry.stand-in";

/// The image that the registry names.
pub enum Image {
    /// Somebody pulled it: the real one.
    Real(String),
    /// Made here of nats-server and busybox, for machines that cannot pull.
    /// It has the real one's name, so it must not stay.
    StandIn(String),
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Real(name) => write!(f, "the image {name} that is here"),
            Self::StandIn(name) => write!(f, "a stand-in for the image {name}"),
        }
    }
}

impl Image {
    pub fn provide() -> Result<Self, String> {
        let registry: toml::Table = DEFAULT_REGISTRY.parse().expect("the registry is TOML");
        let name = registry["server"]["image"].as_str().expect("server.image").to_owned();
        let format = format!("{{{{index .Config.Labels {LABEL:?}}}}}");
        let found = try_docker(&["image", "inspect", "-f", &format, &name]);
        if found.status.success() && text(&found.stdout) != "1" {
            return Ok(Self::Real(name));
        }
        build_stand_in(&name)?;
        Ok(Self::StandIn(name))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Self::StandIn(name) = self {
            try_docker(&["image", "rm", name]);
        }
    }
}

/// As the official image: the same command, the same ports, root, and busybox
/// for the health check.
const DOCKERFILE: &str = "\
FROM scratch
COPY root/ /
LABEL tenantry.stand-in=1
ENV PATH=/usr/local/bin:/bin
EXPOSE 4222 8222 6222
CMD [\"nats-server\", \"--config\", \"/etc/nats/nats-server.conf\"]
";

fn build_stand_in(name: &str) -> Result<(), String> {
    let busybox =
        which::which("busybox").map_err(|_| format!("there is neither the image {name} nor busybox to make one"))?;
    let programs = [(support::nats_server(), "usr/local/bin/nats-server"), (&busybox, "bin/busybox")];
    let applets = ["sh", "wget", "cat", "ls", "touch", "rm"];
    build(name, &programs, &applets, "wget --help >/dev/null 2>&1 && nats-server --version")
}

/// An image of static programs and applets of busybox, in which a command must work.
fn build(name: &str, programs: &[(&Path, &str)], applets: &[&str], works: &str) -> Result<(), String> {
    let folder = TempDir::with_prefix("tenantry-image-").expect("a temporary folder");
    let root = folder.path().join("root");
    for (from, to) in programs {
        let place = root.join(to);
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("create a folder");
        std::fs::copy(from, place).expect("copy a program");
    }
    for applet in applets {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    std::fs::write(folder.path().join("Dockerfile"), DOCKERFILE).expect("write the Dockerfile");
    let built = try_docker(&["build", "-q", "-t", name, &folder.path().display().to_string()]);
    if !built.status.success() {
        return Err(format!("cannot build a stand-in for {name}: {}", text(&built.stderr)));
    }
    // A program that needs shared libraries does not run in it.
    let tried = try_docker(&["run", "--rm", "--network=none", name, "sh", "-c", works]);
    if tried.status.success() {
        return Ok(());
    }
    try_docker(&["image", "rm", name]);
    Err(format!("a program is not static: no stand-in for {name}: {}", text(&tried.stderr)))
}

/// The stand-in for an image with a shell and the nats command line.
pub const NATS_BOX: &str = "tenantry-test-nats-box";

pub fn build_nats_box() -> Result<(), String> {
    let cli = nats_cli().ok_or("there is no nats command line")?;
    let busybox = which::which("busybox").map_err(|e| e.to_string())?;
    build(
        NATS_BOX,
        &[(&cli, "bin/nats"), (&busybox, "bin/busybox")],
        &["sh", "dirname", "sed"],
        "XDG_CONFIG_HOME=/ nats --version",
    )
}
