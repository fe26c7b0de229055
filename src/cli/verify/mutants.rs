//! `tenantry verify --mutants`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Stand;
use crate::audit::tenants::Tenants;
use crate::cli::{Context, count};
use crate::error::{Error, Exit};
use crate::mutants::{Control, MUTANTS, audit};
use crate::verdict::Verdict;

/// Each runs a server of its own, so few at a time.
const AT_ONCE: usize = 3;

pub fn run(context: &Context, stand: &Stand<'_>) -> Result<Exit, Error> {
    if stand.model.tenants.len() < 2 {
        return Err(Error::usage(
            "mutants need two tenants",
            "a leak is from one to another: tenantry tenant add OTHER",
        ));
    }
    // The control of the control: unbroken, nothing is found.
    let unbroken = audit(&stand.conf, None)?;
    let tenants = Tenants::of_accounts(&unbroken.world);
    let report = stand.attack(&stand.conf, &unbroken, false, &|_, _, _| {})?;
    if unbroken.verdict() != Verdict::Isolated || report.verdict != Verdict::Isolated {
        return Err(Error::server(
            "the configuration is not isolated as it is, so what catches a mutant would say nothing",
            "mend what `tenantry check` and `tenantry verify` find first",
        ));
    }
    let mutants: Vec<_> = MUTANTS.iter().filter_map(|m| Some((m, m.applied(stand.model, &stand.conf)?))).collect();
    let bar = context.ui.progress(mutants.len(), "mutants");
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((mutant, conf)) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = mutant
                        .try_to_catch(conf, &tenants, |conf, audit| stand.attack(conf, audit, false, &|_, _, _| {}));
                    if let Ok(mut caught) = caught.lock() {
                        caught.push(outcome);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let control = Control::new(caught.into_inner().unwrap_or_default());
    show(context, &control);
    context.ui.json(&control);
    Ok(if control.survivors.is_empty() { Exit::Ok } else { Exit::Found })
}

fn show(context: &Context, control: &Control) {
    let yes = |caught: bool| if caught { "✔" } else { "·" };
    let rows = control.mutants.iter().map(|m| {
        let live = m.live.map_or("does not start", yes);
        vec![m.id.to_owned(), m.class.to_owned(), yes(m.statically).to_owned(), live.to_owned(), m.by.join(" ")]
    });
    context.ui.table(&["MUTANT", "CLASS", "STATIC", "LIVE", "CAUGHT BY"], rows.collect());
    if !control.not_applicable.is_empty() {
        context.ui.note(&format!("no place for: {}", control.not_applicable.join(", ")));
    }
    let tried = count(control.mutants.len(), "mutant");
    if control.survivors.is_empty() {
        context.ui.done(&format!("{tried}, all caught"));
    } else {
        context.ui.found(&format!("{} survived of {tried}: {}", control.survivors.len(), control.survivors.join(", ")));
    }
}
