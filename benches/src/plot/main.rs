//! Draws what the benchmarks wrote: the newest figures of each kind as pictures, and, if a page is
//! named, as tables of ratios in it.
//!
//! `cargo xtask bench plot` builds and runs it. No picture and no table is made of anything but
//! those files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wal_bench::{Failure, Sheet};

mod figures;
mod chart;
mod pictures;
mod page;

use figures::Kind;

/// Draws what the benchmarks wrote.
#[derive(Debug, Parser)]
#[command(name = "wal-plot")]
struct Arguments {
    /// Where the figures are
    #[arg(long)]
    results: PathBuf,
    /// Where the pictures go
    #[arg(long)]
    pictures: PathBuf,
    /// A page whose marked part is replaced by tables and pictures
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut shown = Vec::new();
    for kind in Kind::ALL {
        let newest = figures::newest(&arguments.results, kind)?;
        if newest.is_empty() {
            println!("no figures: {}", kind.name());
        }
        for (path, sheet) in newest {
            println!("read: {}", path.display());
            let drawn = draw(arguments, kind, &path, &sheet)?;
            shown.push(page::section(kind, &sheet, &drawn));
        }
    }
    if shown.is_empty() {
        let dir = arguments.results.display();
        return Err(format!("no figures in {dir}; `cargo xtask bench commit` makes some").into());
    }
    if let Some(page) = &arguments.page {
        let text = page::renewed(&fs::read_to_string(page)?, &shown.join("\n"))?;
        fs::write(page, text)?;
        println!("written: {}", page.display());
    }
    Ok(())
}

/// The names of the pictures made of what is shown of one file and, where there are any, of its
/// curves.
fn draw(
    arguments: &Arguments,
    kind: Kind,
    path: &Path,
    sheet: &Sheet,
) -> Result<Vec<String>, Failure> {
    fs::create_dir_all(&arguments.pictures)?;
    let mut pictures = pictures::of(kind, sheet);
    let curves = figures::curves_of(kind, path);
    if curves.exists() {
        let bodies = figures::numbers(sheet, figures::BODY_BYTES);
        let curves = Sheet::read(&curves)?.only(figures::BODY_BYTES, &bodies);
        pictures.extend(pictures::of_curves(kind, &curves));
    }
    let mut names = Vec::new();
    for picture in pictures {
        let path = arguments.pictures.join(&picture.file);
        fs::write(&path, picture.svg()?)?;
        println!("written: {}", path.display());
        names.push(picture.file);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_figures_is_an_error_that_says_what_makes_them() {
        let dir = tempfile::tempdir().unwrap();
        let (results, pictures) = (dir.path().to_owned(), dir.path().join("p"));
        let failure = run(&Arguments { results, pictures, page: None }).unwrap_err();
        assert!(failure.to_string().contains("bench commit"), "{failure}");
    }

    #[test]
    fn pictures_and_page_come_from_the_newest_file() {
        let dir = tempfile::tempdir().unwrap();
        let csv = |rate: u32| {
            format!(
                "# taken\nlog,threads,body_bytes,commits_per_second\nraw,1,128,100\nwal,1,128,{rate}\n"
            )
        };
        fs::write(dir.path().join("commits-2026-01-01T000000Z.csv"), csv(1)).unwrap();
        fs::write(dir.path().join("commits-2026-01-02T000000Z.csv"), csv(97)).unwrap();
        let page = dir.path().join("page.md");
        fs::write(&page, format!("a\n{}\nold\n{}\nb\n", page::BEGIN, page::END)).unwrap();
        let pictures = dir.path().join("p");
        let results = dir.path().to_owned();
        run(&Arguments { results, pictures: pictures.clone(), page: Some(page.clone()) }).unwrap();
        let text = fs::read_to_string(page).unwrap();
        assert!(text.contains("0.97") && !text.contains("old") && text.ends_with("b\n"), "{text}");
        assert!(pictures.join("commits-128.svg").exists());
    }
}
