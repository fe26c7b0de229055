//! `tenantry verify --mutants`.

use crate::cli::{Context, count};
use crate::error::{Error, Exit};
use crate::mutants::{self, Control};
use crate::verify::test_bed::TestBed;

pub fn run(context: &Context, test_bed: &TestBed<'_>) -> Result<Exit, Error> {
    let bar = context.ui.progress(mutants::all().count(), "mutants");
    let control = mutants::run(test_bed, |n| bar.set_length(n), || bar.step())?;
    bar.finish();
    show(context, &control);
    context.ui.json(&control);
    Ok(if control.survivors.is_empty() { Exit::Ok } else { Exit::Found })
}

fn show(context: &Context, control: &Control) {
    let yes = |caught: bool| if caught { "✔" } else { "·" };
    let rows = control.mutants.iter().map(|m| {
        let live = m.live.map_or("not attacked", yes);
        vec![m.id.to_owned(), m.class.to_owned(), yes(m.statically).to_owned(), live.to_owned(), m.by.join(" ")]
    });
    context.ui.table(&["MUTANT", "CLASS", "STATIC", "LIVE", "CAUGHT BY"], rows.collect());
    if !control.not_applicable.is_empty() {
        context.ui.note(&format!("no place for: {}", control.not_applicable.join(", ")));
    }
    for mutant in control.mutants.iter().filter(|m| control.survivors.contains(&m.id)) {
        context.ui.found(&format!("{}: not caught by {}", mutant.id, mutant.missed_by.join(", ")));
    }
    let tried = count(control.mutants.len(), "mutant");
    if control.survivors.is_empty() {
        context.ui.done(&format!("{tried}, all caught"));
    } else {
        context.ui.found(&format!("{} survived of {tried}: {}", control.survivors.len(), control.survivors.join(", ")));
    }
}
