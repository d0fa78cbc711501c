//! Tests that tell the server named as `target` when they begin and end: `GET /begin/NAME` and
//! `GET /end/NAME`. The server may hold an answer back, to keep tests running together.

use handoff_sdk::{Context, Result, TestCase, http};

handoff_sdk::suite! { name: "parallel", parallelism: 4, timeout: "10s" }

#[handoff_sdk::tests]
fn eight() -> impl Iterator<Item = TestCase> {
    (1..=8).map(|number| {
        TestCase::new(format!("t{number}"), move |cx| -> Result {
            tell(cx, "begin", number)?;
            cx.set(&format!("t{number}"), &number)?;
            tell(cx, "end", number)
        })
    })
}

fn tell(cx: &Context, what: &str, number: u32) -> Result {
    let target = cx.require_param("target")?;
    http::get(format!("{target}/{what}/t{number}")).send()?.expect_status(200)?;
    Ok(())
}
