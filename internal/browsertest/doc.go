// Package browsertest drives the console and the inbox in a real Chromium, as people and screen readers use them: by the
// roles and names of what is on a page, with real clicks and keys. Every page that it opens must stay without an error in
// the console and a violation of its Content-Security-Policy, and every page that people meet is looked at in both
// languages, both colour schemes and two widths: for accessibility (axe-core), overflow, weight, and for a screenshot.
//
// The tests need Chromium and are behind the build tag with_chromium, which scripts/setup-test sets where there is one.
// SIDEHOOK_SCREENSHOTS=1 also writes the screenshots of docs/guide/screenshots.
//
// It has no code of its own, and does not test what a request over HTTP can: that is the business of the packages.
package browsertest
