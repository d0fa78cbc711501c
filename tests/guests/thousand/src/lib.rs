//! A thousand tests that do nothing, `t000` to `t999`: what a test costs. They are registered while
//! compiling, so that finding one does not make the other names.

handoff_sdk::suite! { name: "thousand", parallelism: 2 }

macro_rules! test {
    ($a:literal $b:literal $c:literal) => {
        const _: () = {
            #[handoff_sdk::test(name = concat!("t", $a, $b, $c))]
            fn nothing() {}
        };
    };
}

macro_rules! ten {
    ($a:literal $b:literal) => {
        test!($a $b 0); test!($a $b 1); test!($a $b 2); test!($a $b 3); test!($a $b 4);
        test!($a $b 5); test!($a $b 6); test!($a $b 7); test!($a $b 8); test!($a $b 9);
    };
}

macro_rules! hundred {
    ($($a:literal)+) => {
        $(
            ten!($a 0); ten!($a 1); ten!($a 2); ten!($a 3); ten!($a 4);
            ten!($a 5); ten!($a 6); ten!($a 7); ten!($a 8); ten!($a 9);
        )+
    };
}

hundred!(0 1 2 3 4 5 6 7 8 9);
