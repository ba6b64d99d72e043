//! The one line that answers a document.

use std::fmt::Write as _;
use std::time::Duration;

use heliograph_dialects::Dialect;
use heliograph_domain::RefusalCode;

/// What a gateway is told about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The document is safe.
    Ack {
        /// The document's token.
        seq: Option<String>,
        /// Readings accepted, new or repeated.
        readings: usize,
        /// Readings refused.
        rejected: usize,
    },
    /// The document was refused.
    Nack {
        /// The document's token, where it could be read.
        seq: Option<String>,
        /// Why.
        code: RefusalCode,
        /// Why, in words.
        text: String,
    },
}

impl Answer {
    pub(crate) fn nack(seq: Option<String>, code: RefusalCode, text: impl Into<String>) -> Self {
        Self::Nack { seq, code, text: text.into() }
    }

    /// The document's token.
    pub(crate) fn into_seq(self) -> Option<String> {
        match self {
            Self::Ack { seq, .. } | Self::Nack { seq, .. } => seq,
        }
    }

    /// Readings of the document, accepted or refused; of a document that was refused, none.
    pub(crate) fn readings(&self) -> usize {
        match self {
            Self::Ack { readings, rejected, .. } => readings + rejected,
            Self::Nack { .. } => 0,
        }
    }

    /// Whether the connection closes after this answer.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::Nack { code, .. } if code.closes())
    }

    /// What metrics call it: `ack`, `partial` or the code of the refusal.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Ack { rejected: 0, .. } => "ack",
            Self::Ack { .. } => "partial",
            Self::Nack { code, .. } => code.as_str(),
        }
    }

    /// Counts it by the dialect of its document, as far as that can be told, and how long
    /// it took where it is an ack.
    pub(crate) fn count(&self, dialect: Option<Dialect>, took: Duration) {
        let dialect = dialect.map_or("unknown", Dialect::as_str);
        metrics::counter!("heliograph_ingest_documents_total", "dialect" => dialect, "outcome" => self.outcome()).increment(1);
        if let Self::Ack { readings, rejected, .. } = self {
            metrics::counter!("heliograph_ingest_readings_total").increment(*readings as u64);
            metrics::counter!("heliograph_ingest_rejected_total").increment(*rejected as u64);
            metrics::histogram!("heliograph_ingest_ack_seconds").record(took.as_secs_f64());
        }
    }

    /// The line, with its line feed.
    pub(crate) fn line(&self) -> String {
        let mut line = String::with_capacity(64);
        self.append_to(&mut line);
        line
    }

    /// Appends the line, with its line feed.
    pub(crate) fn append_to(&self, line: &mut String) {
        match self {
            Self::Ack { seq, readings, rejected } => {
                line.push_str("<ack");
                push_attribute(line, "seq", seq.as_deref());
                // Writing to a string cannot fail.
                let _ = write!(line, " readings=\"{readings}\"");
                if *rejected > 0 {
                    let _ = write!(line, " rejected=\"{rejected}\"");
                }
                line.push_str("/>\n");
            }
            Self::Nack { seq, code, text } => {
                line.push_str("<nack");
                push_attribute(line, "seq", seq.as_deref());
                let _ = write!(line, " code=\"{code}\" retry=\"{}\">", code.retry());
                push_escaped(line, text);
                line.push_str("</nack>\n");
            }
        }
    }
}

fn push_attribute(line: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        line.push(' ');
        line.push_str(name);
        line.push_str("=\"");
        push_escaped(line, value);
        line.push('"');
    }
}

/// One line, whatever the text holds.
fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => line.push_str("&lt;"),
            '>' => line.push_str("&gt;"),
            '&' => line.push_str("&amp;"),
            '"' => line.push_str("&quot;"),
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() => line.push('\u{FFFD}'),
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_line_each() {
        let ack = Answer::Ack { seq: Some("17".into()), readings: 20, rejected: 0 };
        assert_eq!(ack.line(), "<ack seq=\"17\" readings=\"20\"/>\n");
        let partial = Answer::Ack { seq: None, readings: 18, rejected: 2 };
        assert_eq!(partial.line(), "<ack readings=\"18\" rejected=\"2\"/>\n");
        let nack = Answer::nack(Some("a\"b".into()), RefusalCode::UnknownGateway, "gateway <x>\nis not known");
        assert_eq!(
            nack.line(),
            "<nack seq=\"a&quot;b\" code=\"unknown-gateway\" retry=\"true\">gateway &lt;x&gt; is not known</nack>\n"
        );
    }
}
