//! A person at a panel: real Chromium, driven by chromedriver.

use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// The tabulator, as WebDriver calls it.
const TAB: char = '\u{e004}';
const CHROMEDRIVER: &str = "http://127.0.0.1:9515";
/// Longer than any page takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The path of the one-time link that a text holds.
pub(crate) fn link_path(said: &str) -> String {
    let link = said.split_whitespace().find(|word| word.contains("/welcome/")).unwrap();
    link.get(link.find("/welcome/").unwrap()..).unwrap().to_owned()
}

/// A browser with an empty profile.
pub(crate) struct Browser {
    client: Client,
    base: String,
}

impl Browser {
    pub(crate) async fn open(base: String) -> Self {
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,1000",
        ];
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let connected = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(CHROMEDRIVER).await;
        let client = connected.unwrap_or_else(|error| {
            panic!("no chromedriver answers at {CHROMEDRIVER} ({error}); start it: deploy/dev/chromedriver.sh start 9515")
        });
        Self { client, base }
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }

    pub(crate) async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// Chooses a password by a one-time link.
    pub(crate) async fn choose_password(&self, link: &str, password: &str) {
        self.go(link).await;
        self.fill("#password", password).await;
        self.fill("#again", password).await;
        self.submit("#password").await;
        assert!(!self.address().await.contains("/welcome/"), "{}", self.page().await);
    }

    /// Types into a field as it stands.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Sets a field that a keyboard fills in parts, such as a date.
    pub(crate) async fn set(&self, css: &str, value: &str) {
        self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap();
        let script = "document.querySelector(arguments[0]).value = arguments[1]";
        self.client.execute(script, vec![json!(css), json!(value)]).await.unwrap();
    }

    /// Chooses the option of a list whose label begins with a text.
    pub(crate) async fn choose(&self, css: &str, label: &str) {
        let script = "const list = document.querySelector(arguments[0]);
            const option = [...list.options].find(option => option.label.startsWith(arguments[1]));
            list.value = option.value";
        self.client.execute(script, vec![json!(css), json!(label)]).await.unwrap();
    }

    /// Chooses the last option of a list.
    pub(crate) async fn choose_last(&self, css: &str) {
        let script = "const list = document.querySelector(arguments[0]); list.selectedIndex = list.options.length - 1";
        self.client.execute(script, vec![json!(css)]).await.unwrap();
    }

    /// Presses the button of the form that holds a field, and waits for the next page.
    pub(crate) async fn submit(&self, css: &str) {
        self.leave(css, "arguments[0].form.querySelector('button:not([type=button])').click()").await;
    }

    /// Presses a button, and waits for the next page.
    pub(crate) async fn press(&self, css: &str) {
        self.leave(css, "arguments[0].click()").await;
    }

    /// Does something to an element, and waits for the next page.
    async fn leave(&self, css: &str, script: &str) {
        let before = self.client.find(Locator::Css("html")).await.unwrap();
        let element = self.client.find(Locator::Css(css)).await.unwrap();
        self.client.execute(script, vec![serde_json::to_value(element).unwrap()]).await.unwrap();
        // The old page is gone when its root is.
        let gone = async {
            while before.tag_name().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
        self.client.wait().at_most(PATIENCE).for_element(Locator::Css("main, h1")).await.unwrap();
    }

    /// The text of an element.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap().text().await.unwrap()
    }

    /// The text of the whole page.
    pub(crate) async fn page(&self) -> String {
        self.text("body").await
    }

    /// The value of the tile with a label.
    pub(crate) async fn tile(&self, label: &str) -> String {
        let path = format!("//dl[contains(@class,'tiles')]//div[dt[normalize-space()='{label}']]/dd/strong");
        self.client.wait().at_most(PATIENCE).for_element(Locator::XPath(&path)).await.unwrap().text().await.unwrap()
    }

    /// What the panel answers to the signed-in person, without the browser's help.
    pub(crate) async fn download(&self, path: &str) -> String {
        let cookies = self.client.get_all_cookies().await.unwrap();
        let cookie: Vec<String> = cookies.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        let host = self.base.trim_start_matches("http://").to_owned();
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nCookie: {}\r\n\r\n", cookie.join("; "));
        let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{head}");
        body.to_owned()
    }

    /// The sum of a column over all rows of a CSV file that have it.
    pub(crate) async fn sum_of_csv(&self, path: &str, column: &str) -> f64 {
        let csv = self.download(path).await;
        let at = csv.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
        let cells = csv.lines().skip(1).filter_map(|row| row.split(',').nth(at));
        cells.filter(|cell| !cell.is_empty()).map(|cell| cell.parse::<f64>().unwrap()).sum()
    }

    /// The value of an attribute of the first element that there is.
    pub(crate) async fn attribute(&self, css: &str, name: &str) -> String {
        let element = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap();
        element.attr(name).await.unwrap().unwrap_or_default()
    }

    /// Loads a page again and again until it says something.
    pub(crate) async fn await_on(&self, path: &str, text: &str) {
        let said = async {
            loop {
                self.go(path).await;
                if self.page().await.contains(text) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, said).await.is_ok(), "{path} does not say {text:?} but {}", self.page().await);
    }

    /// Waits until a script says that something of the page is so, without loading it again.
    pub(crate) async fn await_true(&self, script: &str) {
        let said = async {
            while self.run(script).await != json!(true) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, said).await.is_ok(), "{script} is not so: {}", self.page().await);
    }

    /// What a script answers.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Presses the tabulator.
    pub(crate) async fn tab(&self) {
        let key = KeyActions::new("keyboard".to_owned()).then(KeyAction::Down { value: TAB }).then(KeyAction::Up { value: TAB });
        self.client.perform_actions(key).await.unwrap();
    }

    /// Shows pages as on a screen of that width, light or dark.
    pub(crate) async fn show_as(&self, width: u32, dark: bool) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (command, parameters) in [("Emulation.setDeviceMetricsOverride", screen), ("Emulation.setEmulatedMedia", media)] {
            self.ask("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await;
        }
    }

    /// What the console has said since it was asked last: errors of scripts, of what could
    /// not be loaded, of what the page's own policy forbids.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let said = self.ask("se/log", &json!({ "type": "browser" })).await;
        said.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Asks chromedriver what no standard has. It keeps connections open whatever it is told.
    async fn ask(&self, what: &str, body: &Value) -> Value {
        let session = self.client.session_id().await.unwrap().unwrap();
        let (host, body) = (CHROMEDRIVER.trim_start_matches("http://"), body.to_string());
        let head = format!("POST /session/{session}/{what} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = BufReader::new(tokio::net::TcpStream::connect(host).await.unwrap());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while stream.read_line(&mut line).await.unwrap() > 2 {
            let told = line.to_lowercase();
            length = told.strip_prefix("content-length:").map_or(length, |told| told.trim().parse().unwrap());
            line.clear();
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await.unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["value"].get("error"), None, "{what}: {answer}");
        answer["value"].take()
    }

    pub(crate) async fn address(&self) -> String {
        self.client.current_url().await.unwrap().to_string()
    }
}
