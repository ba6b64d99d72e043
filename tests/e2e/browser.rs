//! A person at a panel: real Chromium, driven by chromedriver.

use std::time::Duration;

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

const CHROMEDRIVER: &str = "http://127.0.0.1:9515";
/// Longer than any page takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

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
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{head}");
        body.to_owned()
    }

    pub(crate) async fn address(&self) -> String {
        self.client.current_url().await.unwrap().to_string()
    }
}
