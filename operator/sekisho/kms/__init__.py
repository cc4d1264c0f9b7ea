"""Key services: wrap and unwrap the data key of a sealed model where its owner keeps his keys."""
