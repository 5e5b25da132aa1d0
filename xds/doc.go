// Package xds holds the resources that configuration is made of and the Snapshot that a sidecar applies: conversion
// between protobuf and the words of the root package, validation per resource, names. It opens no connection:
// xds/client, xds/server and xds/file do.
package xds
