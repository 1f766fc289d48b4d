module gotemplates

go 1.18
