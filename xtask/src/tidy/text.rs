//! Rules for any text file: unfinished work names its issue, and no path of somebody's machine gets in.

use super::Problem;

/// Assembled, so that this file does not find itself.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const MACHINES: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

pub(super) fn check(path: &str, text: &str, problems: &mut Vec<Problem>) {
    // Not ours to word.
    if path.starts_with("LICENSE") || path.ends_with(".lock") || path.ends_with("package-lock.json") {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        for word in UNFINISHED.iter().filter(|word| has_unfinished(line, word)) {
            let text = format!("`{word}` without an issue: write {word}(#123)");
            problems.push(Problem::new(path, Some(number), text));
        }
        for directory in MACHINES.iter().filter(|directory| has_path(line, directory)) {
            problems.push(Problem::new(
                path,
                Some(number),
                format!("a path below {directory} exists on one machine"),
            ));
        }
    }
}

fn has_unfinished(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = &line[start + word.len()..];
        let is_word =
            !before.is_some_and(is_part_of_word) && !after.chars().next().is_some_and(is_part_of_word);
        is_word
            && !after.strip_prefix("(#").is_some_and(|issue| issue.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Finds the directory at the start of a path; in a URL it may stand in the middle of one.
fn has_path(line: &str, directory: &str) -> bool {
    line.match_indices(directory).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + directory.len()..].chars().next();
        !before.is_some_and(|c| is_part_of_word(c) || matches!(c, '/' | '.' | '-' | '}' | ')' | '*' | '$'))
            && after.is_some_and(is_part_of_word)
    })
}

fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(line: &str) -> usize {
        let mut problems = Vec::new();
        check("a.md", line, &mut problems);
        problems.len()
    }

    #[test]
    fn unfinished_work_names_its_issue() {
        let [word, ..] = UNFINISHED;
        assert_eq!(count(&format!("// {word}: later")), 1);
        assert_eq!(count(&format!("// {word}(somebody): later")), 1);
        assert_eq!(count(&format!("// {word}(#12): later")), 0);
        assert_eq!(count(&format!("{word}S and the like")), 0);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for directory in MACHINES {
            assert_eq!(count(&format!("see {directory}somebody/file")), 1, "{directory}");
            assert_eq!(count(&format!("`{directory}x`")), 1, "{directory}");
            assert_eq!(count(&format!("https://host.example{directory}x")), 0, "{directory}");
            assert_eq!(count(&format!("target{directory}x")), 0, "{directory}");
        }
    }
}
