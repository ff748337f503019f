module tidewait.dev/tests/node/app

go 1.21
