//! `wasi:random`: real randomness, counted.
//!
//! Our own instead of wasmtime-wasi's, which bounds one call and not their sum, and draws a whole
//! word for each byte. A guest cannot be told that there is no more, because the interface has no
//! errors; so it traps.

use rand::RngExt as _;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::p2::bindings::random::insecure_seed;

use super::limits::LimitsHit;
use super::trap::LimitTrap;
use crate::model::{Limit, Limits};

/// How many bytes are made at once; well below a millisecond of work.
const PIECE_BYTES: usize = 64 << 10;

/// The randomness that an attempt may still have.
pub(crate) struct RandomCtx {
    left: u64,
    limit: u64,
    hits: LimitsHit,
}

impl RandomCtx {
    /// As much as `limits` allow.
    pub(crate) fn new(limits: &Limits, hits: LimitsHit) -> Self {
        Self { left: limits.random_bytes, limit: limits.random_bytes, hits }
    }

    fn word(&mut self) -> wasmtime::Result<u64> {
        self.charge(8)?;
        Ok(rand::rng().random())
    }

    fn charge(&mut self, len: u64) -> wasmtime::Result<()> {
        match self.left.checked_sub(len) {
            Some(left) => self.left = left,
            None => {
                self.hits.hit(Limit::RandomBytes);
                let limit = self.limit;
                return Err(LimitTrap {
                    limit: Limit::RandomBytes,
                    message: format!("asked for more than {limit} bytes of randomness"),
                }
                .into());
            }
        }
        Ok(())
    }
}

impl insecure_seed::Host for RandomCtx {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((rand::rng().random(), rand::rng().random()))
    }
}

/// So many bytes, in pieces between which the deadline can pass.
async fn fill(len: u64) -> wasmtime::Result<Vec<u8>> {
    let len = usize::try_from(len)?;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let start = bytes.len();
        bytes.resize(len.min(start + PIECE_BYTES), 0);
        rand::rng().fill(&mut bytes[start..]);
        tokio::task::yield_now().await;
    }
    Ok(bytes)
}

struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = &'a mut RandomCtx;
}

/// Offers the three interfaces of `wasi:random`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut RandomCtx,
) -> wasmtime::Result<()> {
    insecure_seed::add_to_linker::<T, HasRandom>(linker, get)?;
    add_source(linker, get, "wasi:random/random@0.2.12", ["get-random-bytes", "get-random-u64"])?;
    let names = ["get-insecure-random-bytes", "get-insecure-random-u64"];
    add_source(linker, get, "wasi:random/insecure@0.2.12", names)
}

/// By hand, since the bindings of wasmtime-wasi cannot wait in between.
fn add_source<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut RandomCtx,
    interface: &str,
    [bytes, word]: [&str; 2],
) -> wasmtime::Result<()> {
    let mut interface = linker.instance(interface)?;
    interface.func_wrap_async(
        bytes,
        move |mut store: StoreContextMut<'_, T>, (len,): (u64,)| {
            Box::new(async move {
                get(store.data_mut()).charge(len)?;
                Ok((fill(len).await?,))
            })
        },
    )?;
    interface.func_wrap(word, move |mut store: StoreContextMut<'_, T>, (): ()| {
        Ok((get(store.data_mut()).word()?,))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_ends_at_its_limit_in_sum() {
        let hits = LimitsHit::default();
        let limits = Limits { random_bytes: 100, ..Limits::default() };
        let mut random = RandomCtx::new(&limits, hits.clone());
        assert!(random.charge(60).is_ok());
        assert!(random.charge(60).unwrap_err().is::<LimitTrap>());
        assert!(random.word().is_ok());
        assert!(random.charge(u64::MAX).is_err());
        assert_eq!(hits.take(), [Limit::RandomBytes]);
    }

    #[tokio::test]
    async fn many_bytes_come_in_pieces_between_which_others_have_their_turn() {
        let pieces = 5;
        let mut filling = Box::pin(fill((pieces * PIECE_BYTES) as u64));
        for _ in 0..pieces {
            assert!(futures::poll!(&mut filling).is_pending());
        }
        let bytes = filling.await.unwrap();
        assert_eq!(bytes.len(), pieces * PIECE_BYTES);
        assert!(bytes.chunks(PIECE_BYTES).all(|piece| piece.iter().any(|byte| *byte != 0)));
        assert_eq!(fill(0).await.unwrap(), b"");
    }
}
