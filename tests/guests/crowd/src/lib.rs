//! Two thousand tests with names as people give them, of which every hundredth fails: what a page makes of many.

use handoff_sdk::{Context, Result, TestCase};

handoff_sdk::suite! { name: "crowd", namespace: "fixtures", parallelism: 2 }

const AREAS: [&str; 8] =
    ["checkout", "search", "login", "stock", "invoices", "returns", "mail", "reports"];

#[handoff_sdk::tests]
fn many() -> impl Iterator<Item = TestCase> {
    (0..2_000).map(|number: usize| {
        let area = AREAS[number % AREAS.len()];
        TestCase::new(format!("{area}/customer {number:04} sees what was ordered"), move |cx| {
            act(cx, number)
        })
        .tag(area)
    })
}

fn act(_: &Context, number: usize) -> Result {
    if number % 100 == 99 {
        handoff_sdk::bail!("order {number} has no invoice: expected 1, found 0");
    }
    Ok(())
}
