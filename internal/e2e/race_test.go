//go:build race

package e2e

// raceDetector: the programs are built with it when the tests are. A process that sees a race ends with code 66.
const raceDetector = true
