"""`tocsin chaos`: the same stream with and without disturbances, compared cell by cell.

`plan` draws the disturbances from a seed; `stage` puts broker, proxy, receiver and processes up;
`perform` disturbs them; `outcome` collects what everybody has in the end; `verdict` compares.
"""
