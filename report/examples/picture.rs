//! Draws the picture of the README: `cargo run -p heliograph-report --example picture > docs/picture.svg`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(heliograph_report::chart::readme_picture().as_bytes())
}
