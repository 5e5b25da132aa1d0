// Package treetest holds tests about the source tree as a whole: which package may import which, where third-party
// libraries may appear, what each package says about itself, and how tests wait. It has no code of its own.
package treetest
