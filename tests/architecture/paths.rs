//! Every path that a source file names, made absolute: `crate::store::data`, `std::fs::File`.
//!
//! Knows how Rust resolves names well enough for our own tree: `use` trees with renames and groups, `crate`, `self`,
//! `super`, `extern crate`, modules declared in place, qualified paths, and the token streams of macros and attributes.
//! What it cannot know (a name that a glob brings in) is given as it was written.

use std::collections::{BTreeSet, HashMap};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A path named in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    pub line: usize,
    /// The module it is named in, without `crate`.
    pub module: Vec<String>,
    /// Absolute where that could be found out: the first segment is then `crate` or the name of a crate.
    pub path: Vec<String>,
}

/// Reads one file that is the module `module` (without `crate`). `crates` are the names of other crates.
pub fn mentions(source: &str, module: &[String], crates: &BTreeSet<String>) -> syn::Result<Vec<Mention>> {
    let file = syn::parse_file(source)?;
    let mut found = Vec::new();
    read_module(&file.items, &file.attrs, module, crates, &mut found);
    Ok(found)
}

fn read_module(
    items: &[syn::Item],
    attrs: &[syn::Attribute],
    module: &[String],
    crates: &BTreeSet<String>,
    found: &mut Vec<Mention>,
) {
    // First what names mean here, then what is named: a `use` may stand below.
    let mut names = Names { module: module.to_vec(), ..Names::default() };
    for item in items {
        names.visit_item(item);
    }
    let mut walk = Walk { names: &names, crates, found, deeper: Vec::new() };
    for attr in attrs {
        walk.visit_attribute(attr);
    }
    for item in items {
        walk.visit_item(item);
    }
    let deeper = std::mem::take(&mut walk.deeper);
    for (name, attrs, items) in deeper {
        let mut path = module.to_vec();
        path.push(name);
        read_module(&items, &attrs, &path, crates, found);
    }
}

/// What first segments mean in one module: its `use`s (also those inside functions) and its child modules.
#[derive(Default)]
struct Names {
    module: Vec<String>,
    children: BTreeSet<String>,
    /// From `use` and `extern crate`: the path as it was written there.
    aliases: HashMap<String, Vec<String>>,
    /// `use crate::*` or the like brings the top modules in.
    root_glob: bool,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.children.insert(item.ident.to_string());
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for leaf in leaves(item) {
            if leaf.glob {
                self.root_glob |= self.absolute(&leaf.path).is_some_and(|path| path == ["crate"]);
            } else if let Some(name) = leaf.name {
                // `use redb;` says nothing new, and would make the name mean itself.
                if leaf.path.first() != Some(&name) || leaf.path.len() > 1 {
                    self.aliases.insert(name, leaf.path);
                }
            }
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        if let Some((_, name)) = &item.rename {
            let krate = item.ident.to_string();
            let path = if krate == "self" { "crate".to_string() } else { krate };
            self.aliases.insert(name.to_string(), vec![path]);
        }
    }
}

impl Names {
    /// `crate`, `self`, `super` and our own crate's name.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = match path.first()?.as_str() {
            "crate" | "$crate" | "homepost" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        let mut rest = &path[1..];
        if path[0] == "super" {
            base.pop();
        }
        while rest.first().is_some_and(|next| next == "super") {
            base.pop();
            rest = &rest[1..];
        }
        let mut whole = vec!["crate".to_string()];
        whole.extend(base);
        whole.extend(rest.iter().cloned());
        Some(whole)
    }

    /// `None`: a name of this module, or one that only the compiler knows.
    fn resolve(&self, path: &[String], crates: &BTreeSet<String>) -> Option<Vec<String>> {
        let mut path = path.to_vec();
        // Aliases of aliases end; a ring of them cannot compile, and must not hang this test.
        for _ in 0..8 {
            if let Some(whole) = self.absolute(&path) {
                return Some(whole);
            }
            let first = path.first()?.clone();
            if first.is_empty() {
                return Some(path[1..].to_vec());
            }
            if let Some(alias) = self.aliases.get(&first) {
                let mut whole = alias.clone();
                whole.extend(path[1..].iter().cloned());
                if alias.first() == Some(&first) {
                    // `use sled::sled;`: the name hides the crate that it comes from.
                    return Some(whole);
                }
                path = whole;
                continue;
            }
            if self.children.contains(&first) {
                let mut whole = vec!["crate".to_string()];
                whole.extend(self.module.iter().cloned());
                whole.extend(path);
                return Some(whole);
            }
            if crates.contains(&first) {
                return Some(path);
            }
            // In the crate's root a longer path can start at a module that `lib.rs` declares; a single name there is an item of
            // the root itself, or a word of an attribute (`#[global_allocator]`, `#[cfg(feature = …)]`).
            if self.root_glob || (self.module.is_empty() && path.len() > 1) {
                let mut whole = vec!["crate".to_string()];
                whole.extend(path);
                return Some(whole);
            }
            return None;
        }
        None
    }
}

struct Leaf {
    line: usize,
    path: Vec<String>,
    /// What it is called here; none for `_` and globs.
    name: Option<String>,
    glob: bool,
}

fn leaves(item: &syn::ItemUse) -> Vec<Leaf> {
    fn walk(tree: &syn::UseTree, mut path: Vec<String>, out: &mut Vec<Leaf>) {
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(part) => {
                path.push(plain(&part.ident));
                walk(&part.tree, path, out);
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                out.push(Leaf { line, name: path.last().cloned(), path, glob: false });
            }
            syn::UseTree::Name(name) => {
                path.push(plain(&name.ident));
                out.push(Leaf { line, name: path.last().cloned(), path, glob: false });
            }
            syn::UseTree::Rename(rename) => {
                if rename.ident != "self" || path.is_empty() {
                    path.push(plain(&rename.ident));
                }
                let name = plain(&rename.rename);
                out.push(Leaf { line, name: (name != "_").then_some(name), path, glob: false });
            }
            syn::UseTree::Glob(_) => out.push(Leaf { line, path, name: None, glob: true }),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, path.clone(), out)),
        }
    }
    let start = if item.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
    let mut out = Vec::new();
    walk(&item.tree, start, &mut out);
    out
}

fn plain(ident: &proc_macro2::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_string()
}

struct Walk<'a> {
    names: &'a Names,
    crates: &'a BTreeSet<String>,
    found: &'a mut Vec<Mention>,
    /// Modules written in place, read afterwards with names of their own.
    deeper: Vec<(String, Vec<syn::Attribute>, Vec<syn::Item>)>,
}

impl Walk<'_> {
    fn mention(&mut self, line: usize, written: Vec<String>) {
        let path = self.names.resolve(&written, self.crates).unwrap_or(written);
        if !path.is_empty() {
            self.found.push(Mention { line, module: self.names.module.clone(), path });
        }
    }

    fn segments(path: &syn::Path) -> Vec<String> {
        let start = if path.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
        start.into_iter().chain(path.segments.iter().map(|segment| plain(&segment.ident))).collect()
    }

    /// `<std::time::Instant>::now` is `std::time::Instant::now`.
    fn qualified(&mut self, line: usize, qself: &syn::QSelf, path: &syn::Path) {
        if let syn::Type::Path(of) = &*qself.ty {
            let mut whole = Self::segments(&of.path);
            whole.extend(path.segments.iter().skip(qself.position).map(|segment| plain(&segment.ident)));
            self.mention(line, whole);
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        let done = std::mem::take(&mut path);
                        self.mention(line, done);
                    }
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(plain(ident));
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    // `use`-like groups, as in `a::{b, c}`, are read as what they hold under what stands before.
                    let done = std::mem::take(&mut path);
                    let before = if colons == 2 { done.clone() } else { Vec::new() };
                    if !done.is_empty() {
                        self.mention(line, done);
                    }
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        if before.is_empty() {
                            self.tokens(group.stream());
                        } else {
                            self.group_under(&before, group.stream());
                        }
                    }
                }
            }
        }
        if !path.is_empty() {
            self.mention(line, path);
        }
    }

    fn group_under(&mut self, before: &[String], tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    let mut whole = before.to_vec();
                    whole.push(plain(&ident));
                    self.mention(ident.span().start().line, whole);
                }
                TokenTree::Group(group) => self.group_under(before, group.stream()),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        item.attrs.iter().for_each(|attr| self.visit_attribute(attr));
        if let Some((_, items)) = &item.content {
            self.deeper.push((plain(&item.ident), Vec::new(), items.clone()));
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for leaf in leaves(item) {
            // A `use` is not led astray by what it itself brings in.
            let path = match leaf.path.first() {
                Some(first) if first.is_empty() => leaf.path[1..].to_vec(),
                Some(first) if self.names.aliases.get(first).is_some_and(|alias| *alias == leaf.path) => leaf.path,
                _ => self.names.resolve(&leaf.path, self.crates).unwrap_or(leaf.path),
            };
            self.found.push(Mention { line: leaf.line, module: self.names.module.clone(), path });
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.mention(item.span().start().line, vec![plain(&item.ident)]);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(qself) = &path.qself {
            self.qualified(path.span().start().line, qself, &path.path);
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        if let Some(qself) = &path.qself {
            self.qualified(path.span().start().line, qself, &path.path);
        }
        visit::visit_type_path(self, path);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.mention(path.span().start().line, Self::segments(path));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        visit::visit_macro(self, item);
        self.tokens(item.tokens.clone());
    }

    fn visit_attribute(&mut self, attr: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attr.meta {
            self.visit_path(&list.path);
            self.tokens(list.tokens.clone());
        } else if let syn::Meta::Path(path) = &attr.meta {
            self.visit_path(path);
        } else if let syn::Meta::NameValue(pair) = &attr.meta {
            // `#[path = …]` puts a module where its name does not say.
            let name = if pair.path.is_ident("path") { "attr path" } else { return };
            let line = pair.path.span().start().line;
            self.found.push(Mention { line, module: self.names.module.clone(), path: vec![name.to_string()] });
        }
    }
}
