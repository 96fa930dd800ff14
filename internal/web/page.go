package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"net/http"
)

//go:embed static
var static embed.FS

// page is the document around the state that it shows first. All of it is in one answer, style and script too, so that a browser
// on a busy machine waits for this server once. Its policy allows that style and that script by their digests, and no other.
type page struct {
	head, tail []byte
	policy     string
}

// newPage puts the files together.
func newPage() page {
	style, script := content("page.css"), content("page.js")
	html := replaced(content("index.html"), `<link rel="stylesheet" href="page.css">`, "<style>"+string(style)+"</style>")
	// A script of that type is data: it does not run, and the policy need not allow it.
	head, tail, _ := bytes.Cut(replaced(html, `<script src="page.js"></script>`,
		`<script id="first" type="application/json">STATE</script>`+"\n<script>"+string(script)+"</script>"), []byte("STATE"))
	return page{head, tail, "default-src 'none'; script-src " + digest(script) + "; style-src " + digest(style) + "; connect-src 'self'; " +
		"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
}

// content returns a file of the page.
func content(name string) []byte {
	b, err := static.ReadFile("static/" + name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return b
}

// replaced returns text with something else in the one place where old is.
func replaced(text []byte, old, by string) []byte {
	if bytes.Count(text, []byte(old)) != 1 {
		panic("web: index.html does not have once: " + old) // it is part of the program
	}
	return bytes.Replace(text, []byte(old), []byte(by), 1)
}

// digest names a style or a script in a policy.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// write answers with the page that shows a state.
func (p page) write(w http.ResponseWriter, st State) {
	b, err := json.Marshal(st) // which escapes what could end a script
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	for _, part := range [][]byte{p.head, b, p.tail} {
		_, _ = w.Write(part)
	}
}

func icon(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write(content("icon.svg"))
}
