//! Reports as files to keep: the answer that a browser saves.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use heliograph_report::export::{Export, ExportError, Format};
use tokio::sync::Semaphore;

use crate::error::Refusal;
use crate::off_thread::off_thread;

/// How many files are made at once: that of a gateway with 2,000 sensors has half a
/// million cells.
static ROOM: Semaphore = Semaphore::const_new(2);

/// Answers with a report as a file. Tables and file are made where they hold up
/// no page.
pub(crate) async fn report_file(format: Format, describe: impl FnOnce() -> Export + Send + 'static) -> Result<Response, Refusal> {
    let (name, body) = make(format, describe).await?;
    let headers: [(HeaderName, String); 2] = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, body).into_response())
}

/// A report as a program is told it.
pub(crate) async fn report_object(describe: impl FnOnce() -> Export + Send + 'static) -> Result<Response, Refusal> {
    let (_, body) = make(Format::Json, describe).await?;
    Ok(([(header::CONTENT_TYPE, Format::Json.media_type())], body).into_response())
}

async fn make(format: Format, describe: impl FnOnce() -> Export + Send + 'static) -> Result<(String, Vec<u8>), Refusal> {
    let make = move || {
        let export = describe();
        Ok::<_, ExportError>((export.file_name(format), export.file(format)?))
    };
    Ok(off_thread(&ROOM, make).await??)
}
