//! `wasi:random`: real randomness, counted.
//!
//! Our own instead of wasmtime-wasi's, which bounds one call and not their sum, and draws a whole
//! word for each byte. A guest cannot be told that there is no more, because the interface has no
//! errors; so it traps.

use rand::RngExt as _;
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::limits::LimitsHit;
use super::trap::LimitTrap;
use crate::model::{Limit, Limits};

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

    fn bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.charge(len)?;
        let mut bytes = vec![0; usize::try_from(len)?];
        rand::rng().fill(&mut bytes[..]);
        Ok(bytes)
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

impl random::Host for RandomCtx {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.word()
    }
}

impl insecure::Host for RandomCtx {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.word()
    }
}

impl insecure_seed::Host for RandomCtx {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((rand::rng().random(), rand::rng().random()))
    }
}

struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = &'a mut RandomCtx;
}

/// Offers the three interfaces of `wasi:random`.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut RandomCtx,
) -> wasmtime::Result<()> {
    random::add_to_linker::<T, HasRandom>(linker, get)?;
    insecure::add_to_linker::<T, HasRandom>(linker, get)?;
    insecure_seed::add_to_linker::<T, HasRandom>(linker, get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_ends_at_its_limit_in_sum() {
        let hits = LimitsHit::default();
        let limits = Limits { random_bytes: 100, ..Limits::default() };
        let mut random = RandomCtx::new(&limits, hits.clone());
        assert_eq!(random.bytes(60).unwrap().len(), 60);
        assert!(random.bytes(60).unwrap_err().is::<LimitTrap>());
        assert!(random.word().is_ok());
        assert!(random.bytes(u64::MAX).is_err());
        assert_eq!(hits.take(), [Limit::RandomBytes]);
    }
}
