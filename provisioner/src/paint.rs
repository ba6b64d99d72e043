//! Colour for terminals, and none for pipes.

use owo_colors::{OwoColorize as _, Style};

/// Whether output is coloured. Who prints decides (terminal, `NO_COLOR`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    coloured: bool,
}

impl Paint {
    /// Text alone.
    pub const PLAIN: Self = Self { coloured: false };
    /// With ANSI colours.
    pub const COLOURED: Self = Self { coloured: true };

    /// Whether colours are used.
    #[must_use]
    pub const fn is_coloured(self) -> bool {
        self.coloured
    }

    /// What is well or new.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.style(text, Style::new().green())
    }

    /// What changes.
    #[must_use]
    pub fn change(self, text: &str) -> String {
        self.style(text, Style::new().yellow())
    }

    /// What goes or is wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.style(text, Style::new().red())
    }

    /// What matters most.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.style(text, Style::new().bold())
    }

    /// What matters least.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.style(text, Style::new().dimmed())
    }

    fn style(self, text: &str, style: Style) -> String {
        if self.coloured { text.style(style).to_string() } else { text.to_owned() }
    }
}
