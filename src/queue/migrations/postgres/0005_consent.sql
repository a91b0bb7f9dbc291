-- Which list a contact was seen on, and contacts of addresses that the user had before.
ALTER TABLE users
    ADD COLUMN contact_list     text, -- the list, and the API's address, that the columns contact_… are about
    ADD COLUMN earlier_contacts text; -- JSON: keyed hashes of earlier addresses, each with its contact as last seen
