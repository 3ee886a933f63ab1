//! The few colours of the demo.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Green,
    Red,
    Yellow,
    Cyan,
    Bold,
    Dim,
}

impl Colour {
    pub fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Green => "32",
            Self::Red => "1;31",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::Bold => "1",
            Self::Dim => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// `text` in a colour, where one is given and colours may be used.
pub fn painted(text: &str, colour: Option<Colour>, colours: bool) -> String {
    match colour.filter(|_| colours) {
        Some(colour) => colour.paint(text),
        None => text.to_owned(),
    }
}
