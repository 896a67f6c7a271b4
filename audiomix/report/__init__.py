"""Pages and pictures: what a person looks at and listens to."""
