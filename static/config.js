// Where the page finds its server. Empty means "where the page itself came from". A static host that serves this
// folder replaces this one file, for example {apiBase: "https://pulse.example.org", wsBase: "wss://pulse.example.org"}.
// An empty wsBase follows apiBase.
window.PULSE = { apiBase: "", wsBase: "" };
