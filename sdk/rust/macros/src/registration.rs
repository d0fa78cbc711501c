//! The attributes on functions: checks the function, keeps it, and registers it beside it.

use crate::options;
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::{Attribute, Error, Expr, ExprLit, ItemFn, Lit, Meta, Result};

const KNOWN: &[&str] = &["name", "description", "timeout", "attempts", "soft", "tags", "disabled"];

/// Which of the two functions around the tests.
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    Setup,
    Teardown,
}

pub(crate) fn test(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: ItemFn = syn::parse2(item)?;
    let mut fields = Vec::new();
    let mut described = false;
    for entry in options::list.parse2(options)? {
        let key = &entry.key;
        fields.push(match key.to_string().as_str() {
            "name" | "disabled" | "description" => {
                described |= key == "description";
                let text = entry.text()?;
                quote!(#key: ::core::option::Option::Some(#text))
            }
            "timeout" => {
                let millis = entry.duration()?;
                quote!(timeout_ms: #millis)
            }
            "attempts" => {
                let count = entry.count()?;
                quote!(attempts: #count)
            }
            "tags" => {
                let tags = entry.array()?;
                quote!(tags: #tags)
            }
            "soft" => {
                let soft = entry.switch()?;
                quote!(soft: #soft)
            }
            _ => return Err(entry.unknown(KNOWN)),
        });
    }
    if let (false, Some(text)) = (described, documentation(&function.attrs)) {
        fields.push(quote!(description: ::core::option::Option::Some(#text)));
    }
    let run = runner(&function)?;
    let name = function.sig.ident.unraw().to_string();
    let place = place(&function);
    Ok(quote! {
        #function
        ::handoff_sdk::__private::inventory::submit! {
            ::handoff_sdk::__private::Test {
                #(#fields,)*
                module: ::core::module_path!(),
                function: #name,
                place: #place,
                run: #run,
                ..::handoff_sdk::__private::Test::EMPTY
            }
        }
    })
}

pub(crate) fn tests(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    no_options(options)?;
    let function: ItemFn = syn::parse2(item)?;
    check(&function)?;
    if !function.sig.inputs.is_empty() {
        let message = "the source of tests takes no arguments; its tests take `&Context`";
        return Err(Error::new_spanned(&function.sig.inputs, message));
    }
    let name = &function.sig.ident;
    let place = place(&function);
    Ok(quote! {
        #function
        ::handoff_sdk::__private::inventory::submit! {
            ::handoff_sdk::__private::Source {
                place: #place,
                visit: |visitor| ::handoff_sdk::__private::visit(#name(), visitor),
            }
        }
    })
}

pub(crate) fn hook(hook: Hook, options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    no_options(options)?;
    let function: ItemFn = syn::parse2(item)?;
    let run = runner(&function)?;
    let place = place(&function);
    let kind = match hook {
        Hook::Setup => quote!(Setup),
        Hook::Teardown => quote!(Teardown),
    };
    Ok(quote! {
        #function
        ::handoff_sdk::__private::inventory::submit! {
            ::handoff_sdk::__private::#kind { place: #place, run: #run }
        }
    })
}

fn no_options(options: TokenStream) -> Result<()> {
    if options.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(options, "this attribute has no options"))
}

/// Refuses what cannot be called from the outside without arguments of its own.
fn check(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness {
        let message = "an async function is not supported; block on the future inside a plain one, \
                       for example with `wstd::runtime::block_on`";
        return Err(Error::new_spanned(word, message));
    }
    if !signature.generics.params.is_empty() {
        let message = "there is nobody who could say what the parameters are: make it not generic";
        return Err(Error::new_spanned(&signature.generics, message));
    }
    Ok(())
}

/// A closure that calls the function and turns what it gives into an ending. The way from an error to
/// an ending is chosen here, where its type is known: see `handoff_sdk::__private::ViaError`.
fn runner(function: &ItemFn) -> Result<TokenStream> {
    check(function)?;
    let name = &function.sig.ident;
    let call = match function.sig.inputs.len() {
        0 => quote!(#name()),
        1 => quote!(#name(cx)),
        _ => {
            let message = "it is called with `cx: &Context` or with nothing";
            return Err(Error::new_spanned(&function.sig.inputs, message));
        }
    };
    let place = place(function);
    Ok(quote! {
        |cx| {
            #[allow(unused_imports, reason = "one of the three is used")]
            use ::handoff_sdk::__private::{ViaDisplay as _, ViaError as _, ViaSendError as _};
            let _ = cx;
            match ::handoff_sdk::__private::Returned::into_result(#call) {
                ::core::result::Result::Ok(()) => ::handoff_sdk::__private::Ending::Passed,
                ::core::result::Result::Err(error) => (&&&::handoff_sdk::__private::Caught(&error)).via().ending(error, #place),
            }
        }
    })
}

/// Where the function's name stands. `line!` would give the attribute's line, and inside a macro the
/// outermost call's.
fn place(function: &ItemFn) -> TokenStream {
    let (line, column) = if proc_macro::is_available() {
        let span = function.sig.ident.span().unwrap();
        (span.line() as u32, span.column() as u32)
    } else {
        (0, 0) // in the unit tests of this crate
    };
    quote!(::handoff_sdk::__private::Place { file: ::core::file!(), line: #line, column: #column })
}

/// The text of the documentation comment, without the indentation that all its lines share.
fn documentation(attributes: &[Attribute]) -> Option<String> {
    let lines: Vec<String> = attributes.iter().filter_map(documentation_line).collect();
    let lines: Vec<&str> = lines.iter().flat_map(|line| line.split('\n')).collect();
    let indented = lines.iter().filter(|line| !line.trim().is_empty());
    let indent = indented.map(|line| line.len() - line.trim_start_matches(' ').len()).min()?;
    let lines = lines.iter().map(|line| line.get(indent..).unwrap_or_default().trim_end());
    Some(lines.collect::<Vec<_>>().join("\n").trim().to_owned())
}

fn documentation_line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn error(options: &str, item: &str) -> String {
        test(options.parse().unwrap(), item.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_test_with_every_option_is_taken() {
        let options = r#"timeout = "500ms", attempts = 3, soft, tags = ["smoke"], description = "d",
            disabled = "reason", name = concat!("a", "b")"#;
        let item = "fn flaky(cx: &Context) -> Result<(), Error> { Ok(()) }";
        test(options.parse().unwrap(), item.parse().unwrap()).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_test_is_said() {
        let plain = "fn a() {}";
        assert!(error("sfot", plain).contains("no option `sfot`; there are: name"));
        assert!(error("soft = true", plain).contains("`soft` takes no value"));
        assert!(error("timeout", plain).contains("`timeout` needs a value"));
        assert!(error("timeout = 5", plain).contains("a duration such as"));
        assert!(error("timeout = \"5\"", plain).contains("is no duration"));
        assert!(error("attempts = 0", plain).contains("a whole number from 1"));
        assert!(error("", "async fn a() {}").contains("async"));
        assert!(error("", "fn a<T>() {}").contains("not generic"));
        assert!(error("", "fn a(x: u8, y: u8) {}").contains("`cx: &Context`"));
    }

    #[test]
    fn a_source_of_tests_takes_nothing() {
        let item = "fn rows(cx: &Context) -> Vec<TestCase> { vec![] }";
        let error = tests(TokenStream::new(), item.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("takes no arguments"));
    }

    #[test]
    fn a_documentation_comment_becomes_the_description() {
        let item: ItemFn = syn::parse_quote! {
            /// Buys a book.
            ///
            ///   - with a voucher
            #[must_use]
            fn buys() {}
        };
        assert_eq!(documentation(&item.attrs).unwrap(), "Buys a book.\n\n  - with a voucher");
        let bare: ItemFn = syn::parse_quote!(
            fn bare() {}
        );
        assert_eq!(documentation(&bare.attrs), None);
    }
}
