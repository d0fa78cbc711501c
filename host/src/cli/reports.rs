//! Reports of a run in files, for other tools.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Output;
use super::client::{Client, broken};
use super::exit::{Exit, Failure};
use crate::model::{Run, RunId, Stage};
use crate::report::Format;

/// A report that was asked for: `junit=PATH`, `json=PATH`, `go-test=PATH` or `tap=PATH`; the path `-`
/// is standard output.
#[derive(Clone, Debug)]
pub(crate) struct ReportOrder {
    format: Format,
    path: PathBuf,
}

impl FromStr for ReportOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write junit=PATH, json=PATH, go-test=PATH or tap=PATH".to_owned();
        let (word, path) =
            text.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or_else(wrong)?;
        let format = Format::ALL.iter().find(|format| format.as_str() == word).ok_or_else(wrong)?;
        Ok(Self { format: *format, path: path.into() })
    }
}

/// Whether standard output is for a result, and so not for the course of the run.
pub(crate) fn take_stdout(reports: &[ReportOrder], output: Output) -> bool {
    output == Output::Json || reports.iter().any(ReportOrder::is_to_stdout)
}

/// Fails if one of them cannot be written, or more than one result would go to standard output.
pub(crate) fn check(reports: &[ReportOrder], output: Output) -> Result<(), Failure> {
    let results = reports.iter().filter(|report| report.is_to_stdout()).count()
        + usize::from(output == Output::Json);
    if results > 1 {
        let told =
            "standard output takes one result: give the other reports a file, as in junit=PATH";
        return Err(Failure::told(Exit::Usage, told));
    }
    reports.iter().try_for_each(ReportOrder::check)
}

impl ReportOrder {
    /// The file that it is written to; none if that is standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        (!self.is_to_stdout()).then_some(self.path.as_path())
    }

    fn is_to_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// Fails if it cannot be written there, so that nobody waits for a run in vain. What is there stays, and where
    /// there is nothing no empty report is left, should the run not come about.
    fn check(&self) -> Result<(), Failure> {
        let found = std::fs::metadata(&self.path);
        // To open a pipe and close it again would tell its reader that this was all.
        let is_pipe = found.as_ref().is_ok_and(|it| !it.is_file() && !it.is_dir());
        if is_pipe || self.is_to_stdout() {
            return Ok(());
        }
        self.open(File::options().append(true))?;
        if found.is_err() {
            std::fs::remove_file(&self.path).map_err(|error| Failure::usage(self.told(error)))?;
        }
        Ok(())
    }

    /// Writes the report of a run whose attempts have their details.
    pub(crate) fn write(&self, run: &Run) -> Result<(), Failure> {
        let mut out = self.open(File::options().write(true).truncate(true))?;
        write_report(self.format, run, &mut out)
            .and_then(|()| out.flush())
            .map_err(|e| self.failed(e))
    }

    /// Writes the report that a server gives of a run.
    pub(crate) async fn fetch(&self, client: &Client, run: RunId) -> Result<(), Failure> {
        let id = run.to_string();
        let request = client.request(reqwest::Method::GET, &["runs", &id, "report"]);
        let mut answer = client.send(request.query(&[("format", self.format.as_str())])).await?;
        let mut out = self.open(File::options().write(true).truncate(true))?;
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            out.write_all(&chunk).map_err(|error| self.failed(error))?;
        }
        out.flush().map_err(|error| self.failed(error))
    }

    fn open(&self, how: &mut OpenOptions) -> Result<Box<dyn Write>, Failure> {
        if self.is_to_stdout() {
            return Ok(Box::new(super::course::result()));
        }
        let wrong = |error| Failure::usage(self.told(error));
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent).map_err(wrong)?;
        }
        let file = how.create(true).open(&self.path).map_err(wrong)?;
        Ok(Box::new(BufWriter::new(file)))
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::platform(self.told(error))
    }

    fn told(&self, error: io::Error) -> anyhow::Error {
        let what = format!("write the report {}", self.path.display());
        anyhow::Error::new(error).context(what)
    }
}

/// Writes a report of a run whose attempts carry their details.
pub(crate) fn write_report(format: Format, run: &Run, out: &mut dyn Write) -> io::Result<()> {
    format.write(run, &|_: &Stage, _, _| None, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_its_form_and_its_file() {
        let order: ReportOrder = "go-test=a=b".parse().unwrap();
        assert_eq!((order.format, order.path.to_str()), (Format::GoTest, Some("a=b")));
        for wrong in ["junit", "junit=", "=x", "html=x"] {
            assert!(wrong.parse::<ReportOrder>().is_err(), "{wrong}");
        }
    }
}
