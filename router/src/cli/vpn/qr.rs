//! A QR code in a terminal: two modules in each character, by half blocks.

use qrcode::{Color, EcLevel, QrCode};

/// Modules of free space around a code (ISO/IEC 18004 §9.1).
const QUIET: usize = 4;

/// `text` as a QR code. What is light in the code is the colour of letters, as terminals mostly have light letters on a dark
/// ground; with `colour` both are set. `None` when the text is too long for any code.
pub(super) fn draw(text: &str, colour: bool) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let modules = code.to_colors();
    let whole = width + 2 * QUIET;
    let is_light = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        inside(x).zip(inside(y)).is_none_or(|(x, y)| modules.get(y * width + x) != Some(&Color::Dark))
    };
    let (before, after) = if colour { ("\x1b[97;40m", "\x1b[0m") } else { ("", "") };
    let mut out = String::new();
    for y in (0..whole).step_by(2) {
        out.push_str(before);
        out.extend((0..whole).map(|x| match (is_light(x, y), y + 1 < whole && is_light(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        out.push_str(after);
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a camera sees of it: each module some dots wide.
    fn seen(drawn: &str) -> String {
        const DOTS: usize = 3;
        let light: Vec<Vec<bool>> = (drawn.lines())
            .flat_map(|line| {
                let half = |blocks: [char; 2]| line.chars().map(|c| blocks.contains(&c)).collect::<Vec<_>>();
                [half(['█', '▀']), half(['█', '▄'])]
            })
            .collect();
        let (width, height) = (light[0].len() * DOTS, light.len() * DOTS);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            if light[y / DOTS][x / DOTS] { 255 } else { 0 }
        });
        let grids = image.detect_grids();
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_camera_reads_what_is_drawn() {
        for text in ["a", "[Interface]\nPrivateKey = x\n", &"Address = 10.77.0.2/32\n".repeat(20)] {
            let drawn = draw(text, false).unwrap();
            assert_eq!(seen(&drawn), text);
            let coloured = draw(text, true).unwrap();
            assert_eq!(coloured.replace("\x1b[97;40m", "").replace("\x1b[0m", ""), drawn);
        }
    }

    /// The longest configurations are of peers with addresses of both families and a preshared key.
    #[test]
    fn a_configuration_fits_a_terminal() {
        let drawn = draw(&"x".repeat(400), false).unwrap();
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
    }

    #[test]
    fn what_fits_no_code_is_refused() {
        assert_eq!(draw(&"x".repeat(3000), false), None);
    }
}
