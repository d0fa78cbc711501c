//! Work for the processor: what it costs to meter it is measured with these.

use handoff_sdk::{Context, Result, ensure, ensure_eq};
use serde_json::{Value, json};

fn rounds(cx: &Context) -> Result<u32> {
    Ok(cx.param("rounds").map_or(Ok(1), |rounds| rounds.parse())?)
}

fn numbers() -> Vec<u32> {
    let next = |x: &u64| Some(x * 16_807 % 2_147_483_647);
    std::iter::successors(Some(1), next).take(20_000).map(|x| x as u32).collect()
}

fn shell_sort(numbers: &mut [u32]) {
    let mut gap = numbers.len() / 2;
    while gap > 0 {
        for at in gap..numbers.len() {
            let number = numbers[at];
            let mut to = at;
            while to >= gap && numbers[to - gap] > number {
                numbers[to] = numbers[to - gap];
                to -= gap;
            }
            numbers[to] = number;
        }
        gap /= 2;
    }
}

#[handoff_sdk::test(name = "sorts")]
fn sorts(cx: &Context) -> Result {
    for _ in 0..rounds(cx)? {
        let mut numbers = numbers();
        shell_sort(&mut numbers);
        ensure!(numbers.is_sorted());
    }
    Ok(())
}

#[handoff_sdk::test(name = "writes_and_reads_json")]
fn writes_and_reads_json(cx: &Context) -> Result {
    let record = |i: u32| {
        json!({
            "id": i, "name": format!("book {i}"), "price": f64::from(i) / 4.0, "sold": i % 2 == 1,
            "tags": ["a", "b"],
        })
    };
    for _ in 0..rounds(cx)? {
        let written = serde_json::to_string(&(0..2_000).map(record).collect::<Vec<_>>())?;
        let read: Vec<Value> = serde_json::from_str(&written)?;
        let sum: u64 = read.iter().filter_map(|record| record["id"].as_u64()).sum();
        ensure_eq!(sum, 1_999_000);
    }
    Ok(())
}
