// Package console is the web UI of the control plane: pages made on the server, over the same Service and Fleet as REST,
// in Vietnamese and English. It needs nothing but its own binary: templates, styles and scripts are embedded, and there
// is no build step.
//
// It decides nothing of its own about webhooks, apps or secrets: what a form may say is what Service takes, and its
// refusals are shown at the field, in the reader's language. It opens no listener and keeps nothing; sessions are access
// tokens of Service.
//
// # Adding a page
//
//  1. Write NAME.go with a method that registers its paths with Console.handle, saying who may see it, and call that in
//     Console.routes. A tab of an app also calls Console.addTab.
//  2. A handler is func(*visit) error. It answers with visit.render, visit.done (redirect with a toast) or visit.redirect,
//     or returns an error: sidehook.ErrNotFound and the other errors of the service become an error page. Before it runs,
//     the session, the app in the path ({app}), where the request came from and the form's token have been checked, and
//     the form is parsed.
//  3. Write templates/NAME.html with the templates "title" and "main"; their data is *page, with what the handler gave in
//     .Data. Templates whose file begins with _ are shared: csrf, problems, field-error, pager, empty, copy. Each form that posts
//     has {{template "csrf" $}}; one with data-confirm="text" asks first (on the server too, see visit.confirmed).
//  4. Write locales/NAME.vi.yaml and NAME.en.yaml; {{t "key"}} says a text, {{t "key" "N" 3}} one with values, visit.t the
//     same in Go. A test holds the languages and the uses together.
//  5. What changes by itself goes into an element with an id and data-live="webhooks deliveries sidecars" (those it
//     depends on); when they change, the page is fetched again and that element replaced. Forms stay outside of it.
//     webhooks stands for everything stored of the app: event types and policy too.
//
// Do not call an attribute data-on…: html/template takes it for a script. What scripts add to a page is in
// assets/console.js: data-count (0/50), data-guard (asks before typed input is lost), data-copy, data-sheet (a part of
// another page in a dialog), data-focus, and <time> in the reader's zone; each page works without.
//
// Forms that are refused are rendered again with visit.problems, the status 422 (or 409), and the input kept.
package console
